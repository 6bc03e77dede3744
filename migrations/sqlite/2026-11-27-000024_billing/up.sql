-- What subscriptions turned from and into, as far as figures go: the ground for revenue, churn and cohorts. Rows are only
-- added, in the unit of work that writes the subscription. A row stays when the account is erased, as usage does.
CREATE TABLE subscription_changes (
    provider TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    -- That of the subscription with this change.
    revision INTEGER NOT NULL,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    status TEXT NOT NULL,
    plan TEXT NOT NULL,
    plan_version INTEGER NOT NULL,
    -- What it pays for a month, in the currency's smallest unit: 0 while it pays nothing, unknown where its price is not
    -- one number.
    monthly INTEGER,
    currency TEXT,
    -- How it stood before; nothing of its first row.
    from_status TEXT,
    from_plan TEXT,
    from_plan_version INTEGER,
    from_monthly INTEGER,
    from_currency TEXT,
    PRIMARY KEY (provider, provider_id, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscription_changes_at_idx ON subscription_changes (at);
CREATE INDEX subscription_changes_owner_idx ON subscription_changes (owner_kind, owner_id, at);

-- What was before is not known of those that are there: each counts as what it is from its beginning on, and one that is
-- over as if it had never paid.
INSERT INTO subscription_changes (provider, provider_id, revision, owner_kind, owner_id, at, status, plan, plan_version, monthly, currency)
SELECT provider, provider_id, revision, owner_kind, owner_id, created_at, status, plan, plan_version,
    CASE
        WHEN collection_paused = 1 THEN 0
        WHEN CASE
            WHEN status IN ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'canceled', 'paused')
            THEN status ELSE coalesce(known_status, '') END NOT IN ('active', 'past_due') THEN 0
        WHEN price_amount BETWEEN 0 AND 1000000000 AND quantity BETWEEN 0 AND 10000 THEN
            (price_amount * quantity * CASE price_interval
                WHEN 'day' THEN 365 WHEN 'week' THEN 52 WHEN 'month' THEN 12 WHEN 'year' THEN 1 END + 6) / 12
    END,
    price_currency
FROM subscriptions;

-- The list of all of them, newest first.
CREATE INDEX subscriptions_created_at_idx ON subscriptions (created_at, provider, provider_id);

-- The plan that was in force; nobody knows that of uses before.
ALTER TABLE consumptions ADD COLUMN plan TEXT NOT NULL DEFAULT 'unknown';
