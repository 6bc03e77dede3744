-- Answers kept for repeated requests (`Idempotency-Key`).
CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Until when a request without an answer counts as running.
    running_until timestamptz NOT NULL,
    status integer,
    body text,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_answer_check CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);

-- What every node of a deployment must agree on.
CREATE TABLE deployment (
    name text NOT NULL,
    value text NOT NULL,
    CONSTRAINT deployment_pkey PRIMARY KEY (name)
);
