CREATE TABLE counter (name TEXT PRIMARY KEY ON CONFLICT REPLACE, n INTEGER NOT NULL ON CONFLICT ROLLBACK DEFAULT 0, UNIQUE (name, n) ON CONFLICT IGNORE);
INSERT INTO counter AS c (name, n) VALUES ('a;', 1) ON CONFLICT (name) DO UPDATE SET n = c.n + excluded.n ON CONFLICT (name, n) DO NOTHING;
INSERT INTO counter (name, n) VALUES ('b', 0x1F), ('c', 1e-5+.5), ('d', +-+1), ('e', ~1<<2|3&4%5);
UPDATE OR IGNORE counter SET (name, n) = (SELECT 'b', 2) WHERE n IS NOT DISTINCT FROM 1;
UPDATE counter SET n = t.n FROM (SELECT count(*) AS n FROM task) AS t WHERE counter.name == 'd';
