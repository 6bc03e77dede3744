CREATE TABLE setting (key TEXT NOT NULL, scope ANY, value TEXT NOT NULL DEFAULT '', PRIMARY KEY (key, scope)) STRICT, WITHOUT ROWID;
INSERT INTO setting VALUES ('theme', 'all;', 'dark'), ('size', 1, '10') ON CONFLICT (key, scope) DO UPDATE SET value = excluded.value WHERE excluded.value<>setting.value;
INSERT OR REPLACE INTO setting (key, scope, value) VALUES ('theme', 'all;', 'light') RETURNING key AS "end", scope;
INSERT INTO setting SELECT 'copy', 2, value FROM setting WHERE true ON CONFLICT DO NOTHING;
REPLACE INTO setting (key, scope) VALUES ('empty', 3.5);
