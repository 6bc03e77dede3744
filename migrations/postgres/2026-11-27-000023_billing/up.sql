-- What the provider says of a subscription beside its status. `revision` goes up with every look at the provider, so that
-- of two looks at once the later one is written last.
ALTER TABLE subscriptions ADD COLUMN revision bigint NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN customer text;
ALTER TABLE subscriptions ADD COLUMN price_amount bigint;
ALTER TABLE subscriptions ADD COLUMN price_currency text;
ALTER TABLE subscriptions ADD COLUMN price_interval text;
ALTER TABLE subscriptions ADD COLUMN quantity bigint NOT NULL DEFAULT 1;
ALTER TABLE subscriptions ADD COLUMN known_status text;
ALTER TABLE subscriptions ADD COLUMN paid_until timestamptz;
ALTER TABLE subscriptions ADD COLUMN cancel_at timestamptz;
ALTER TABLE subscriptions ADD COLUMN collection_paused boolean NOT NULL DEFAULT false;
ALTER TABLE subscriptions ADD COLUMN next_plan text;

-- An event is stored before its effect is tried, and done when it has had it. Those of before are done.
ALTER TABLE billing_events ADD COLUMN state text NOT NULL DEFAULT 'done';
ALTER TABLE billing_events ADD COLUMN created_at timestamptz;
ALTER TABLE billing_events ADD COLUMN subscription text;
ALTER TABLE billing_events ADD COLUMN customer text;
CREATE INDEX billing_events_waiting_idx ON billing_events (received_at) WHERE state <> 'done';

-- Who is who at the provider: made by Anteroom before the first checkout.
CREATE TABLE billing_customers (
    provider text NOT NULL,
    customer text NOT NULL,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT billing_customers_pkey PRIMARY KEY (provider, customer)
);
CREATE UNIQUE INDEX billing_customers_owner_idx ON billing_customers (provider, owner_kind, owner_id);

-- Every version of a plan that could be bought, as JSON: its terms hold for whoever bought it.
CREATE TABLE plan_versions (
    plan text NOT NULL,
    version integer NOT NULL,
    terms text NOT NULL,
    published_at timestamptz NOT NULL,
    CONSTRAINT plan_versions_pkey PRIMARY KEY (plan, version)
);

-- What the operator granted somebody beside their subscription. Rows are never changed but for `revoked_at`.
CREATE TABLE overrides (
    id uuid NOT NULL CONSTRAINT overrides_pkey PRIMARY KEY,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    granted text NOT NULL,
    reason text NOT NULL,
    granted_by uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX overrides_owner_idx ON overrides (owner_kind, owner_id);

-- Trials that were had: by an account, and by what tells one means of payment from another.
CREATE TABLE trials (
    kind text NOT NULL,
    value text NOT NULL,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    used_at timestamptz NOT NULL,
    CONSTRAINT trials_pkey PRIMARY KEY (kind, value)
);

-- What was used up of the operator's own things, so that a repeat counts once. Purged after a while.
CREATE TABLE consumptions (
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    id text NOT NULL,
    entitlement text NOT NULL,
    amount bigint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT consumptions_pkey PRIMARY KEY (owner_kind, owner_id, id)
);
CREATE INDEX consumptions_created_at_idx ON consumptions (created_at);
