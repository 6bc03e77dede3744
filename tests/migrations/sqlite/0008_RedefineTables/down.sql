CREATE TABLE old_task_log (
    task_id INTEGER NOT NULL,
    what TEXT NOT NULL DEFAULT 'changed; by hand',
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO old_task_log SELECT task_id, what, at FROM task_log;
DROP TABLE task_log;
PRAGMA legacy_alter_table = 1;
ALTER TABLE old_task_log RENAME TO task_log;
PRAGMA legacy_alter_table(0);
