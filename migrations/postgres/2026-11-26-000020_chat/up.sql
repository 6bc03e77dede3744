-- Names of models that admins have given, over those of the configuration.
CREATE TABLE model_aliases (
    name text NOT NULL,
    -- Another one after every change.
    version uuid NOT NULL,
    enabled boolean NOT NULL,
    -- JSON.
    definition text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT model_aliases_pkey PRIMARY KEY (name)
);
