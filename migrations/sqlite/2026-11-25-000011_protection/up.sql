-- Failed logins, counted by account and by address. The key is a keyed digest: nobody's address is in here.
CREATE TABLE login_failures (
    key BLOB NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL,
    -- Since when the next forgiveness is waited for.
    forgiven_at INTEGER,
    last_failure_at INTEGER NOT NULL,
    blocked_until INTEGER,
    -- When the owner was told of this lockout.
    told_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX login_failures_last_failure_at_idx ON login_failures (last_failure_at);
