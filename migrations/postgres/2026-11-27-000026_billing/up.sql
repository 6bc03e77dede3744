-- What owners were told of by mail, so that each is told once. Purged after a year, and with the account.
CREATE TABLE billing_notices (
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    kind text NOT NULL,
    -- What it was about, in the words of its kind: a subscription and its state, an entitlement and its window.
    reference text NOT NULL,
    told_at timestamptz NOT NULL,
    CONSTRAINT billing_notices_pkey PRIMARY KEY (owner_kind, owner_id, kind, reference)
);
CREATE INDEX billing_notices_told_at_idx ON billing_notices (told_at);
