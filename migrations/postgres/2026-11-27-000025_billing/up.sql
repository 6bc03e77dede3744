-- Credits. Amounts are in millionths of a credit. Like what was used and paid, all of it outlives the account.
--
-- An account's row is what everybody locks who moves its credits; `lines` is how many its ledger has.
CREATE TABLE credit_accounts (
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    owed bigint NOT NULL,
    lines bigint NOT NULL,
    CONSTRAINT credit_accounts_pkey PRIMARY KEY (owner_kind, owner_id)
);

CREATE TABLE credit_grants (
    id uuid NOT NULL CONSTRAINT credit_grants_pkey PRIMARY KEY,
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    source text NOT NULL,
    reference text NOT NULL,
    reason text,
    amount bigint NOT NULL,
    spent bigint NOT NULL,
    refunded bigint NOT NULL,
    priority integer NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    closed_at timestamptz
);
CREATE UNIQUE INDEX credit_grants_reference_idx ON credit_grants (owner_kind, owner_id, source, reference);
CREATE INDEX credit_grants_open_idx ON credit_grants (owner_id) WHERE closed_at IS NULL;
CREATE INDEX credit_grants_expires_at_idx ON credit_grants (expires_at) WHERE closed_at IS NULL;

-- What an event says of something that is bought once.
ALTER TABLE billing_events ADD COLUMN purchase text;

-- The ledger. Nothing in it is ever changed: the trigger below refuses it.
CREATE TABLE credit_entries (
    owner_kind text NOT NULL,
    owner_id uuid NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    grant_id uuid,
    reference text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT credit_entries_pkey PRIMARY KEY (owner_kind, owner_id, seq)
);

CREATE FUNCTION credits_are_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger of credits is append-only'; END $$;
CREATE TRIGGER credit_entries_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_entries
FOR EACH STATEMENT EXECUTE FUNCTION credits_are_append_only();
