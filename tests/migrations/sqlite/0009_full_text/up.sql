CREATE VIRTUAL TABLE task_search USING fts5(title, body, content='task', content_rowid='id', tokenize="unicode61 remove_diacritics 2 tokenchars '-;'");
CREATE TRIGGER task_search_ai AFTER INSERT ON task BEGIN
  INSERT INTO task_search(rowid, title, body) VALUES (new.id, new.title, new.body);
END;
CREATE TRIGGER task_search_ad AFTER DELETE ON task BEGIN
  INSERT INTO task_search(task_search, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
END;
CREATE TRIGGER task_search_au AFTER UPDATE ON task BEGIN
  INSERT INTO task_search(task_search, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
  INSERT INTO task_search(rowid, title, body) VALUES (new.id, new.title, new.body);
END;
INSERT INTO task_search(task_search) VALUES ('rebuild');
SELECT highlight(task_search, 0, '<b>;', ';</b>') FROM task_search('"milk" OR body:bread*') ORDER BY rank;
