DROP INDEX task_title_key;
DROP INDEX task_open_idx;
ALTER TABLE task DROP COLUMN priority;
ALTER TABLE task DROP COLUMN slug;
