ALTER TABLE messages DROP COLUMN filtered;
ALTER TABLE conversations DROP COLUMN assistant;
