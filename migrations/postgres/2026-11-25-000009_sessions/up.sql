-- When the user last proved who they are, within the session; and the country a trusted proxy names.
-- The version before, while it is being replaced, writes sessions without it.
ALTER TABLE sessions ADD COLUMN authenticated_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z';
UPDATE sessions SET authenticated_at = created_at;
ALTER TABLE sessions ADD COLUMN country text;

-- What every node must hear of: read twice a second where the database cannot call out by itself.
CREATE TABLE broadcasts (
    id uuid NOT NULL,
    message text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT broadcasts_pkey PRIMARY KEY (id)
);
CREATE INDEX broadcasts_created_at_idx ON broadcasts (created_at);
