CREATE TABLE IF NOT EXISTS task_log (
    task_id INTEGER NOT NULL,
    what TEXT NOT NULL DEFAULT 'changed; by hand',
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TRIGGER task_is_logged AFTER UPDATE OF title, state ON task
FOR EACH ROW WHEN OLD.title IS NOT NEW.title OR OLD.state <> NEW.state
BEGIN
    -- One row for each; and what it was
    INSERT INTO task_log (task_id, what) VALUES (NEW.id, CASE WHEN OLD.state <> NEW.state THEN 'state; ' || NEW.state ELSE 'title' END);
    UPDATE task SET changed = CASE NEW.state WHEN 'done' THEN CASE WHEN NEW.changed IS NULL THEN 1 ELSE NEW.changed + 1 END ELSE 0 END WHERE id = NEW.id;
    DELETE FROM task_log WHERE task_id = NEW.id AND at < date('now', '-1 year'); /* END; */
END;

CREATE TRIGGER task_stays BEFORE DELETE ON task WHEN OLD.state = 'kept'
BEGIN
    SELECT RAISE(ABORT, 'kept; cannot be deleted');
END;
