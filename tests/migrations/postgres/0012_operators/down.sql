DROP VIEW room_flags;
DROP INDEX room_settings_idx;
ALTER TABLE room DROP CONSTRAINT settings_are_an_object, DROP COLUMN settings;
