-- What the provider says of a subscription beside its status. `revision` goes up with every look at the provider, so that
-- of two looks at once the later one is written last.
ALTER TABLE subscriptions ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN customer TEXT;
ALTER TABLE subscriptions ADD COLUMN price_amount INTEGER;
ALTER TABLE subscriptions ADD COLUMN price_currency TEXT;
ALTER TABLE subscriptions ADD COLUMN price_interval TEXT;
ALTER TABLE subscriptions ADD COLUMN quantity INTEGER NOT NULL DEFAULT 1;
ALTER TABLE subscriptions ADD COLUMN known_status TEXT;
ALTER TABLE subscriptions ADD COLUMN paid_until INTEGER;
ALTER TABLE subscriptions ADD COLUMN cancel_at INTEGER;
ALTER TABLE subscriptions ADD COLUMN collection_paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN next_plan TEXT;

-- An event is stored before its effect is tried, and done when it has had it. Those of before are done.
ALTER TABLE billing_events ADD COLUMN state TEXT NOT NULL DEFAULT 'done';
ALTER TABLE billing_events ADD COLUMN created_at INTEGER;
ALTER TABLE billing_events ADD COLUMN subscription TEXT;
ALTER TABLE billing_events ADD COLUMN customer TEXT;
CREATE INDEX billing_events_waiting_idx ON billing_events (received_at) WHERE state <> 'done';

-- Who is who at the provider: made by Anteroom before the first checkout.
CREATE TABLE billing_customers (
    provider TEXT NOT NULL,
    customer TEXT NOT NULL,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (provider, customer)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX billing_customers_owner_idx ON billing_customers (provider, owner_kind, owner_id);

-- Every version of a plan that could be bought, as JSON: its terms hold for whoever bought it.
CREATE TABLE plan_versions (
    plan TEXT NOT NULL,
    version INTEGER NOT NULL,
    terms TEXT NOT NULL,
    published_at INTEGER NOT NULL,
    PRIMARY KEY (plan, version)
) STRICT, WITHOUT ROWID;

-- What the operator granted somebody beside their subscription. Rows are never changed but for `revoked_at`.
CREATE TABLE overrides (
    id BLOB NOT NULL PRIMARY KEY,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    granted TEXT NOT NULL,
    reason TEXT NOT NULL,
    granted_by BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX overrides_owner_idx ON overrides (owner_kind, owner_id);

-- Trials that were had: by an account, and by what tells one means of payment from another.
CREATE TABLE trials (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

-- What was used up of the operator's own things, so that a repeat counts once. Purged after a while.
CREATE TABLE consumptions (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    id TEXT NOT NULL,
    entitlement TEXT NOT NULL,
    amount INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX consumptions_created_at_idx ON consumptions (created_at);
