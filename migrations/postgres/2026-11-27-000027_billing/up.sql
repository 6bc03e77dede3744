-- What was used beyond limits by the month, and what of it was reported to the payment provider. Kept like usage: it is what
-- bills say.
CREATE TABLE overages (
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    -- Of `quota_windows`: its meter.
    counter text NOT NULL,
    window_start timestamptz NOT NULL,
    entitlement text NOT NULL,
    -- Whose terms hold.
    plan text NOT NULL,
    plan_version integer NOT NULL,
    -- From how much on it is paid for, at most so much of it, and what was reported under these terms.
    paid_from bigint NOT NULL,
    most bigint NOT NULL,
    reported bigint NOT NULL,
    CONSTRAINT overages_pkey PRIMARY KEY (owner_kind, owner_id, counter, window_start)
);
