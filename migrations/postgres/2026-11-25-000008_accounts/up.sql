-- An account that may not be used, and one whose owner has asked for its end.
ALTER TABLE users ADD COLUMN disabled_at timestamptz;
ALTER TABLE users ADD COLUMN delete_after timestamptz;
CREATE INDEX users_delete_after_idx ON users (delete_after);

-- Links that were mailed: each works once, within its time. Only the digest of a token is known.
CREATE TABLE one_time_tokens (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    purpose text NOT NULL,
    digest bytea NOT NULL,
    -- The address it is about: the one to be proven, or the one to go back to.
    email text,
    email_folded text,
    session_id uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT one_time_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT one_time_tokens_digest_key UNIQUE (digest)
);
CREATE INDEX one_time_tokens_user_id_idx ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_email_folded_idx ON one_time_tokens (email_folded);
CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at);

-- From where each user has logged in before, so that a place that is new can be told to them. An unknown country is ''.
CREATE TABLE known_devices (
    user_id uuid NOT NULL,
    device text NOT NULL,
    country text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    CONSTRAINT known_devices_pkey PRIMARY KEY (user_id, device, country),
    CONSTRAINT known_devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
