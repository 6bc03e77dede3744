-- The plan that was in force; nobody knows that of calls before.
ALTER TABLE usage_events ADD COLUMN plan TEXT NOT NULL DEFAULT 'unknown';

-- What calls used, added up by days in UTC, so that nobody has to add up the calls themselves. A booking adds to its
-- row in the same transaction; `anteroom admin usage rebuild` makes them anew from `usage_events`.
CREATE TABLE usage_days (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    -- When it began.
    day INTEGER NOT NULL,
    model TEXT NOT NULL,
    plan TEXT NOT NULL,
    -- All zeroes without a key.
    api_key_id BLOB NOT NULL,
    calls INTEGER NOT NULL,
    failed_calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    -- Nano-USD, of the calls with a price.
    cost INTEGER NOT NULL,
    unpriced_calls INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, day, model, plan, api_key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_day_idx ON usage_days (day);

-- One call counts for at most 10^15 of anything, so that no sum ever runs over.
INSERT INTO usage_days (owner_kind, owner_id, day, model, plan, api_key_id, calls, failed_calls, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, cost, unpriced_calls)
SELECT owner_kind, owner_id, created_at - created_at % 86400000000, model, plan, coalesce(api_key_id, zeroblob(16)), count(*),
    sum(CASE WHEN outcome IN ('failed', 'lost') THEN 1 ELSE 0 END),
    sum(CASE WHEN prompt_tokens > 1000000000000000 THEN 1000000000000000 ELSE prompt_tokens END),
    sum(CASE WHEN cached_tokens > 1000000000000000 THEN 1000000000000000 ELSE cached_tokens END),
    sum(CASE WHEN completion_tokens > 1000000000000000 THEN 1000000000000000 ELSE completion_tokens END),
    sum(CASE WHEN reasoning_tokens > 1000000000000000 THEN 1000000000000000 ELSE reasoning_tokens END),
    sum(CASE WHEN cost IS NULL THEN 0 WHEN cost > 1000000000000000 THEN 1000000000000000 ELSE cost END),
    sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END)
FROM usage_events GROUP BY 1, 2, 3, 4, 5, 6;
