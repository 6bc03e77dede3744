-- Ids are UUIDs in 16 bytes; times are microseconds since 1970 in UTC.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    -- The address case-folded as a whole: the form under which it is unique.
    email_folded TEXT NOT NULL,
    email_verified INTEGER NOT NULL,
    name TEXT,
    locale TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT users_email_folded_key UNIQUE (email_folded)
) STRICT, WITHOUT ROWID;

-- Kept apart from the user, so that no answer can carry a hash by accident.
CREATE TABLE password_credentials (
    user_id BLOB NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
