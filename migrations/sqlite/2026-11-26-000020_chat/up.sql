-- Names of models that admins have given, over those of the configuration.
CREATE TABLE model_aliases (
    name TEXT NOT NULL PRIMARY KEY,
    -- Another one after every change.
    version BLOB NOT NULL,
    enabled INTEGER NOT NULL,
    -- JSON.
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
