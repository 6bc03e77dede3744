-- What was used beyond limits by the month, and what of it was reported to the payment provider. Kept like usage: it is what
-- bills say.
CREATE TABLE overages (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    -- Of `quota_windows`: its meter.
    counter TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    entitlement TEXT NOT NULL,
    -- Whose terms hold.
    plan TEXT NOT NULL,
    plan_version INTEGER NOT NULL,
    -- From how much on it is paid for, at most so much of it, and what was reported under these terms.
    paid_from INTEGER NOT NULL,
    most INTEGER NOT NULL,
    reported INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, counter, window_start)
) STRICT, WITHOUT ROWID;
