-- When the user last proved who they are, within the session; and the country a trusted proxy names.
-- SQLite adds no column without a default that has to be there; sessions of before were proven when they began.
ALTER TABLE sessions ADD COLUMN authenticated_at INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET authenticated_at = created_at;
ALTER TABLE sessions ADD COLUMN country TEXT;

-- What every node must hear of: read twice a second where the database cannot call out by itself.
CREATE TABLE broadcasts (
    id BLOB NOT NULL PRIMARY KEY,
    message TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX broadcasts_created_at_idx ON broadcasts (created_at);
