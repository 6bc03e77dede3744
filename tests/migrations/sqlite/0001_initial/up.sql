-- Lists; and the tasks on them

CREATE TABLE list (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(80) NOT NULL
);
CREATE TABLE task (
    id      INTEGER PRIMARY KEY,
    list_id INTEGER NOT NULL REFERENCES list (id) ON DELETE CASCADE,
    title   TEXT NOT NULL DEFAULT 'untitled;',
    body    TEXT,
    state   TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'kept')),
    changed INTEGER
);
CREATE INDEX task_list_id ON task (list_id);
INSERT INTO list (name) VALUES ('home'), ('work; urgent'), ('it''s');
INSERT INTO task (list_id, title) SELECT id, 'First of ' || name FROM list;
