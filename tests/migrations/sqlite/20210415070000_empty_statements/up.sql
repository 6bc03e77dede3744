;;
;
-- only this; in between
;
CREATE TABLE nought (a);;;
/* ; */;
