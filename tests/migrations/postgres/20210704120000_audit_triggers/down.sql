DROP TRIGGER audit_late ON price;
DROP TRIGGER audit_deletes ON price;
DROP TRIGGER audit ON room;
DROP FUNCTION audit_many();
DROP FUNCTION audit();
DROP TABLE audit_row;
