DROP TRIGGER task_stays;
DROP TRIGGER task_is_logged;
DROP TABLE IF EXISTS task_log;
