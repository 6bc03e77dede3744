DROP TABLE known_devices;
DROP TABLE one_time_tokens;
DROP INDEX users_delete_after_idx;
ALTER TABLE users DROP COLUMN delete_after;
ALTER TABLE users DROP COLUMN disabled_at;
