;
DROP TABLE nought
;;
