CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    transport TEXT NOT NULL,
    -- SHA-256 of the cookie, where a cookie carries the session.
    cookie_digest BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    address TEXT,
    user_agent TEXT,
    ended_at INTEGER,
    end_reason TEXT,
    CONSTRAINT sessions_cookie_digest_key UNIQUE (cookie_digest),
    CONSTRAINT sessions_end_check CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- The links of a session's refresh-token family; tokens themselves are never stored.
CREATE TABLE refresh_tokens (
    id BLOB NOT NULL PRIMARY KEY,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    CONSTRAINT refresh_tokens_digest_key UNIQUE (digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);
