DELETE FROM setting WHERE key = 'tags';
DROP VIEW task_tag;
DROP INDEX task_extra_n;
ALTER TABLE task DROP COLUMN extra;
