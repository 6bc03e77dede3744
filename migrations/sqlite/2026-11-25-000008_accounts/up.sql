-- An account that may not be used, and one whose owner has asked for its end.
ALTER TABLE users ADD COLUMN disabled_at INTEGER;
ALTER TABLE users ADD COLUMN delete_after INTEGER;
CREATE INDEX users_delete_after_idx ON users (delete_after);

-- Links that were mailed: each works once, within its time. Only the digest of a token is known.
CREATE TABLE one_time_tokens (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    digest BLOB NOT NULL,
    -- The address it is about: the one to be proven, or the one to go back to.
    email TEXT,
    email_folded TEXT,
    session_id BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    CONSTRAINT one_time_tokens_digest_key UNIQUE (digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX one_time_tokens_user_id_idx ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_email_folded_idx ON one_time_tokens (email_folded);
CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at);

-- From where each user has logged in before, so that a place that is new can be told to them. An unknown country is ''.
CREATE TABLE known_devices (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device TEXT NOT NULL,
    country TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, device, country)
) STRICT, WITHOUT ROWID;
