-- An owner is an account, an organization, an application or the deployment, so it has no foreign key.
CREATE TABLE subscriptions (
    provider TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    plan TEXT NOT NULL,
    plan_version INTEGER NOT NULL,
    status TEXT NOT NULL,
    current_period_end INTEGER,
    cancel_at_period_end INTEGER NOT NULL,
    trial_end INTEGER,
    past_due_since INTEGER,
    -- When the provider says this state came to be.
    as_of INTEGER NOT NULL,
    -- When the provider says the first state seen came to be.
    created_at INTEGER NOT NULL,
    PRIMARY KEY (provider, provider_id)
) STRICT;
CREATE INDEX subscriptions_owner_idx ON subscriptions (owner_kind, owner_id);

-- The provider's events that have had their effect.
CREATE TABLE billing_events (
    provider TEXT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (provider, event_id)
) STRICT;

-- Counters: `reserved` is the sum of the open reservations' amounts.
CREATE TABLE quota_windows (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    meter TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    used INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, meter, window_start)
) STRICT, WITHOUT ROWID;

-- A reservation has a row for each meter it holds. Who pays (`owner`) and whose counter is held (`hold_owner`) may differ.
CREATE TABLE reservations (
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
CREATE INDEX reservations_expires_at_idx ON reservations (expires_at);

-- What calls used: one row each, booked once.
CREATE TABLE usage_events (
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
CREATE INDEX usage_events_owner_created_at_idx ON usage_events (owner_kind, owner_id, created_at);
