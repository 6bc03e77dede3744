-- What owners were told of by mail, so that each is told once. Purged after a year, and with the account.
CREATE TABLE billing_notices (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    -- What it was about, in the words of its kind: a subscription and its state, an entitlement and its window.
    reference TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, kind, reference)
) STRICT, WITHOUT ROWID;
CREATE INDEX billing_notices_told_at_idx ON billing_notices (told_at);
