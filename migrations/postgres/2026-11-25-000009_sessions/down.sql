DROP TABLE broadcasts;
ALTER TABLE sessions DROP COLUMN country;
ALTER TABLE sessions DROP COLUMN authenticated_at;
