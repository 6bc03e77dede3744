-- Credits. Amounts are in millionths of a credit. Like what was used and paid, all of it outlives the account.
--
-- An account's row is what everybody locks who moves its credits; `lines` is how many its ledger has.
CREATE TABLE credit_accounts (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    owed INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE credit_grants (
    id BLOB NOT NULL PRIMARY KEY,
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    source TEXT NOT NULL,
    reference TEXT NOT NULL,
    reason TEXT,
    amount INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    refunded INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    closed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credit_grants_reference_idx ON credit_grants (owner_kind, owner_id, source, reference);
CREATE INDEX credit_grants_open_idx ON credit_grants (owner_id) WHERE closed_at IS NULL;
CREATE INDEX credit_grants_expires_at_idx ON credit_grants (expires_at) WHERE closed_at IS NULL;

-- What an event says of something that is bought once.
ALTER TABLE billing_events ADD COLUMN purchase TEXT;

-- The ledger. Nothing in it is ever changed: the triggers below refuse it.
CREATE TABLE credit_entries (
    owner_kind TEXT NOT NULL,
    owner_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    grant_id BLOB,
    reference TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER credit_entries_are_not_updated BEFORE UPDATE ON credit_entries
BEGIN SELECT RAISE(ABORT, 'the ledger of credits is append-only'); END;
CREATE TRIGGER credit_entries_are_not_deleted BEFORE DELETE ON credit_entries
BEGIN SELECT RAISE(ABORT, 'the ledger of credits is append-only'); END;
