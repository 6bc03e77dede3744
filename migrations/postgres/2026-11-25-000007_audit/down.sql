DROP TABLE audit_seals;
DROP TABLE audit_log;
DROP FUNCTION audit_is_append_only();
