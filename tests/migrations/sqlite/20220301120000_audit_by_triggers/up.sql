CREATE TABLE audit(id INTEGER PRIMARY KEY, tbl TEXT, row INTEGER, op TEXT CHECK(op IN ('I','U','D')), was TEXT, at INTEGER DEFAULT (unixepoch()));
CREATE TRIGGER tags_ai AFTER INSERT ON tags BEGIN INSERT INTO audit(tbl,row,op) VALUES('tags',new.id,'I'); END;
CREATE TRIGGER tags_au AFTER UPDATE ON tags BEGIN
	INSERT INTO audit(tbl,row,op,was)
	SELECT 'tags', old.id, 'U', json_object('name', old.name, 'colour;', CASE WHEN old.colour IS new.colour THEN NULL ELSE old.colour END)
	 WHERE old.name <> new.name OR CASE old.colour WHEN new.colour THEN 0 ELSE 1 END;
	WITH newest AS (SELECT max(id) AS id FROM audit) SELECT id FROM newest;
END;
CREATE TRIGGER tags_ad AFTER DELETE ON tags
	BEGIN
	INSERT INTO audit(tbl,row,op,was) VALUES('tags',old.id,'D',old.name)
	; -- the semicolon may stand apart
	DELETE FROM task_tags WHERE tag_id=old.id;
	END
;
UPDATE tags SET name = 'red' WHERE id = 1;
