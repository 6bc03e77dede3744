-- Written in the transaction of what it tells about, delivered afterwards.
CREATE TABLE outbox (
    id uuid NOT NULL,
    topic text NOT NULL,
    payload text NOT NULL,
    attempts integer NOT NULL,
    -- When it may be taken next; taking it moves this forward.
    due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
);
CREATE INDEX outbox_due_at_idx ON outbox (due_at);
