DROP VIEW billing.total;
DROP TABLE billing.line;
DROP TABLE billing.invoice;
DROP SCHEMA billing RESTRICT;
