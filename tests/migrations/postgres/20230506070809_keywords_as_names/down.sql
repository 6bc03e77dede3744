DROP VIEW "view;";
DROP FUNCTION middle, nothing, no_op, seconds;
DROP TABLE "table";
DROP DOMAIN atomic;
