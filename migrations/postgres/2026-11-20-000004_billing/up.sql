-- An owner is an account, an organization, an application or the deployment, so it has no foreign key.
CREATE TABLE subscriptions (
    provider text NOT NULL,
    provider_id text NOT NULL,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    plan text NOT NULL,
    plan_version integer NOT NULL,
    status text NOT NULL,
    current_period_end timestamptz,
    cancel_at_period_end boolean NOT NULL,
    trial_end timestamptz,
    past_due_since timestamptz,
    -- When the provider says this state came to be.
    as_of timestamptz NOT NULL,
    -- When the provider says the first state seen came to be.
    created_at timestamptz NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (provider, provider_id)
);
CREATE INDEX subscriptions_owner_idx ON subscriptions (owner_kind, owner_id);

-- The provider's events that have had their effect.
CREATE TABLE billing_events (
    provider text NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL,
    payload text NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT billing_events_pkey PRIMARY KEY (provider, event_id)
);

-- Counters: `reserved` is the sum of the open reservations' amounts. Rows are updated with every call, so pages keep
-- room for the new version beside the old one.
CREATE TABLE quota_windows (
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    meter text NOT NULL,
    window_start timestamptz NOT NULL,
    used bigint NOT NULL,
    reserved bigint NOT NULL,
    CONSTRAINT quota_windows_pkey PRIMARY KEY (owner_kind, owner_id, meter, window_start)
) WITH (fillfactor = 50);

-- A reservation has a row for each meter it holds. Who pays (`owner`) and whose counter is held (`hold_owner`) may differ.
CREATE TABLE reservations (
    id uuid NOT NULL,
    meter text NOT NULL,
    request_id uuid NOT NULL,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    session_id uuid NOT NULL,
    model text NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    hold_owner_kind text NOT NULL,
    hold_owner_id uuid NOT NULL,
    window_start timestamptz NOT NULL,
    amount bigint NOT NULL,
    quota_limit bigint,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT reservations_pkey PRIMARY KEY (id, meter)
);
CREATE INDEX reservations_expires_at_idx ON reservations (expires_at);

-- What calls used: one row each, booked once.
CREATE TABLE usage_events (
    request_id uuid NOT NULL,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    session_id uuid NOT NULL,
    model text NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    exact boolean NOT NULL,
    -- Nano-USD; unknown without a price.
    cost bigint,
    first_token_ms bigint,
    total_ms bigint NOT NULL,
    outcome text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT usage_events_pkey PRIMARY KEY (request_id)
);
CREATE INDEX usage_events_owner_created_at_idx ON usage_events (owner_kind, owner_id, created_at);
