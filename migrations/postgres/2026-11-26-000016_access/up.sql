-- What programs use an account with.
CREATE TABLE api_keys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    -- The last four characters of the newest secret.
    hint text NOT NULL,
    -- Words with a space between them.
    scopes text NOT NULL,
    -- A JSON array of names; all that the owner has without one.
    models text,
    budget_nano_usd bigint,
    budget_window text,
    requests_per_minute integer,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    -- When the secret was last exchanged, and until when the one before works.
    rotated_at timestamptz,
    overlap_until timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_budget_check CHECK ((budget_nano_usd IS NULL) = (budget_window IS NULL)),
    CONSTRAINT api_keys_rotated_check CHECK ((rotated_at IS NULL) = (overlap_until IS NULL))
);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id, id);
CREATE INDEX api_keys_expires_at_idx ON api_keys (expires_at);

-- A key's secrets, of which only the digest is known: the newest, and those that go on for a while after they were
-- exchanged.
CREATE TABLE api_key_secrets (
    key_id uuid NOT NULL,
    digest bytea NOT NULL,
    ends_at timestamptz,
    CONSTRAINT api_key_secrets_pkey PRIMARY KEY (key_id, digest),
    CONSTRAINT api_key_secrets_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys (id) ON DELETE CASCADE,
    CONSTRAINT api_key_secrets_digest_key UNIQUE (digest)
);

-- A call is made with a session or with a key.
ALTER TABLE reservations ALTER COLUMN session_id DROP NOT NULL;
ALTER TABLE reservations ADD COLUMN api_key_id uuid;
ALTER TABLE usage_events ALTER COLUMN session_id DROP NOT NULL;
ALTER TABLE usage_events ADD COLUMN api_key_id uuid;
