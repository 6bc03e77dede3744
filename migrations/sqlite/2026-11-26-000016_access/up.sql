-- What programs use an account with.
CREATE TABLE api_keys (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- The last four characters of the newest secret.
    hint TEXT NOT NULL,
    -- Words with a space between them.
    scopes TEXT NOT NULL,
    -- A JSON array of names; all that the owner has without one.
    models TEXT,
    budget_nano_usd INTEGER,
    budget_window TEXT,
    requests_per_minute INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    -- When the secret was last exchanged, and until when the one before works.
    rotated_at INTEGER,
    overlap_until INTEGER,
    CONSTRAINT api_keys_budget_check CHECK ((budget_nano_usd IS NULL) = (budget_window IS NULL)),
    CONSTRAINT api_keys_rotated_check CHECK ((rotated_at IS NULL) = (overlap_until IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id, id);
CREATE INDEX api_keys_expires_at_idx ON api_keys (expires_at);

-- A key's secrets, of which only the digest is known: the newest, and those that go on for a while after they were
-- exchanged.
CREATE TABLE api_key_secrets (
    key_id BLOB NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    digest BLOB NOT NULL,
    ends_at INTEGER,
    PRIMARY KEY (key_id, digest),
    CONSTRAINT api_key_secrets_digest_key UNIQUE (digest)
) STRICT, WITHOUT ROWID;

-- A call is made with a session or with a key. SQLite lets no column become nullable, so the tables are made anew.
CREATE TABLE reservations_new (
    id BLOB NOT NULL,
    meter TEXT NOT NULL,
    request_id BLOB NOT NULL,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    session_id BLOB,
    api_key_id BLOB,
    model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    hold_owner_kind TEXT NOT NULL,
    hold_owner_id BLOB NOT NULL,
    window_start INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    quota_limit INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (id, meter)
) STRICT, WITHOUT ROWID;
INSERT INTO reservations_new (id, meter, request_id, owner_kind, owner_id, session_id, model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, hold_owner_kind, hold_owner_id, window_start, amount, quota_limit, created_at, expires_at)
SELECT id, meter, request_id, owner_kind, owner_id, session_id, model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, hold_owner_kind, hold_owner_id, window_start, amount, quota_limit, created_at, expires_at FROM reservations;
DROP TABLE reservations;
ALTER TABLE reservations_new RENAME TO reservations;
CREATE INDEX reservations_expires_at_idx ON reservations (expires_at);

CREATE TABLE usage_events_new (
    request_id BLOB NOT NULL PRIMARY KEY,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    session_id BLOB,
    api_key_id BLOB,
    model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    exact INTEGER NOT NULL,
    -- Nano-USD; unknown without a price.
    cost INTEGER,
    first_token_ms INTEGER,
    total_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO usage_events_new (request_id, owner_kind, owner_id, session_id, model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, exact, cost, first_token_ms, total_ms, outcome, created_at)
SELECT request_id, owner_kind, owner_id, session_id, model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, exact, cost, first_token_ms, total_ms, outcome, created_at FROM usage_events;
DROP TABLE usage_events;
ALTER TABLE usage_events_new RENAME TO usage_events;
CREATE INDEX usage_events_owner_created_at_idx ON usage_events (owner_kind, owner_id, created_at);
