-- Written in the transaction of what it tells about, delivered afterwards.
CREATE TABLE outbox (
    id BLOB NOT NULL PRIMARY KEY,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    -- When it may be taken next; taking it moves this forward.
    due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_due_at_idx ON outbox (due_at);
