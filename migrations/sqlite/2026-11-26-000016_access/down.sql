-- What was used and is held with keys stays; the version before knows no other way to say with what than a session.
DELETE FROM reservations WHERE meter = 'key_budget';
DELETE FROM quota_windows WHERE owner_kind = 'api_key';
CREATE TABLE usage_events_new (
    request_id BLOB NOT NULL PRIMARY KEY,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
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
SELECT request_id, owner_kind, owner_id, coalesce(session_id, zeroblob(16)), model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, exact, cost, first_token_ms, total_ms, outcome, created_at FROM usage_events;
DROP TABLE usage_events;
ALTER TABLE usage_events_new RENAME TO usage_events;
CREATE INDEX usage_events_owner_created_at_idx ON usage_events (owner_kind, owner_id, created_at);

CREATE TABLE reservations_new (
    id BLOB NOT NULL,
    meter TEXT NOT NULL,
    request_id BLOB NOT NULL,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
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
SELECT id, meter, request_id, owner_kind, owner_id, coalesce(session_id, zeroblob(16)), model, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, hold_owner_kind, hold_owner_id, window_start, amount, quota_limit, created_at, expires_at FROM reservations;
DROP TABLE reservations;
ALTER TABLE reservations_new RENAME TO reservations;
CREATE INDEX reservations_expires_at_idx ON reservations (expires_at);

DROP TABLE api_key_secrets;
DROP TABLE api_keys;
