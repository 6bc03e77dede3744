CREATE VIEW open_task (id, title, "list;") AS
  SELECT t.id, t.title, l.name FROM task t JOIN list l ON l.id = t.list_id WHERE t.state <> 'done';

CREATE TRIGGER open_task_insert INSTEAD OF INSERT ON open_task
BEGIN
  INSERT OR IGNORE INTO list (name) VALUES (coalesce(NEW."list;", 'inbox;'));
  INSERT INTO task (title, list_id)
    SELECT NEW.title, id FROM list WHERE name = CASE WHEN NEW."list;" IS NULL THEN 'inbox;' ELSE NEW."list;" END;
END;

CREATE TRIGGER open_task_update INSTEAD OF UPDATE ON open_task BEGIN UPDATE task SET title = NEW.title WHERE id = OLD.id; END;

CREATE TRIGGER open_task_delete
  INSTEAD OF DELETE ON open_task
  FOR EACH ROW
  BEGIN
    UPDATE task SET state = 'done' WHERE id = OLD.id;
  END;

INSERT INTO open_task (title, "list;") VALUES ('Buy milk; and bread', NULL);
DELETE FROM open_task WHERE title = 'Buy milk; and bread';
