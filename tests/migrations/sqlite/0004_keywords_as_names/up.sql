CREATE TABLE span (id INTEGER PRIMARY KEY, begin INTEGER NOT NULL, end INTEGER NOT NULL, "case" TEXT, trigger TEXT, CHECK (begin <= end));
CREATE TRIGGER begin AFTER UPDATE OF begin, end ON span WHEN new.end > old.end BEGIN
  UPDATE span SET end = max(end, 1), begin = new.begin WHERE id = new.id;
  UPDATE span SET trigger = CASE WHEN end > 1 THEN 'long;' END WHERE id = new.id AND end - begin > 5;
  SELECT begin, end FROM span WHERE end = new.end;
END;
CREATE TEMP TRIGGER IF NOT EXISTS end BEFORE INSERT ON span BEGIN SELECT end, CASE end WHEN 1 THEN 'x' END end FROM span; END;
DROP TRIGGER temp.end;
INSERT INTO span (begin, end) VALUES (1, 2), (3, 9);
UPDATE span SET end = end + 1;
CREATE VIEW replace AS SELECT begin AS first, end FROM span WHERE end;
