--- add-not-null-column
ALTER TABLE orders ADD COLUMN amount INTEGER NOT NULL;
--- safe
ALTER TABLE orders ADD COLUMN amount INTEGER NOT NULL DEFAULT 0;

--- non-constant-default
ALTER TABLE orders ADD COLUMN at TEXT DEFAULT CURRENT_TIMESTAMP;
--- safe
ALTER TABLE orders ADD COLUMN at TEXT DEFAULT '1970-01-01';

--- non-constant-default
ALTER TABLE orders ADD COLUMN at INTEGER NOT NULL DEFAULT (unixepoch());
--- safe
ALTER TABLE orders ADD COLUMN at INTEGER NOT NULL DEFAULT (0);

--- non-constant-default
ALTER TABLE orders ADD COLUMN amount INTEGER DEFAULT (1 + 1);
--- safe
CREATE TABLE orders (id INTEGER PRIMARY KEY);
ALTER TABLE orders ADD COLUMN amount INTEGER DEFAULT (1 + 1);

--- add-unique-column
ALTER TABLE orders ADD COLUMN number TEXT UNIQUE;
--- safe
ALTER TABLE orders ADD COLUMN number TEXT;
CREATE UNIQUE INDEX orders_number ON orders (number);

--- add-unique-column
ALTER TABLE orders ADD COLUMN id INTEGER PRIMARY KEY;
--- safe
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);

--- add-stored-column
ALTER TABLE orders ADD COLUMN total INTEGER AS (amount * price) STORED;
--- safe
ALTER TABLE orders ADD COLUMN total INTEGER GENERATED ALWAYS AS (amount * price) VIRTUAL;

--- pragma-foreign-keys
PRAGMA foreign_keys = OFF;
--- safe
PRAGMA defer_foreign_keys = ON;

--- pragma-foreign-keys | no transaction
PRAGMA foreign_keys(0);
--- safe | no transaction
PRAGMA foreign_key_check;

--- refused-in-transaction
VACUUM;
--- safe | no transaction
VACUUM;

--- refused-in-transaction
PRAGMA journal_mode = WAL;
--- safe
PRAGMA journal_mode;

--- session-setting | no transaction
PRAGMA journal_mode = WAL;
--- safe | no transaction
PRAGMA optimize;

--- session-setting
PRAGMA legacy_alter_table = ON;
--- safe
PRAGMA table_info(orders);

--- writable-schema
PRAGMA writable_schema = ON;
--- safe
PRAGMA integrity_check;

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER, note TEXT) STRICT;
CREATE INDEX orders_at ON orders (at);
--- rebuild-loses-objects
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, at INTEGER) STRICT;
INSERT INTO orders_new (id, at) SELECT id, at FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER, note TEXT) STRICT;
CREATE INDEX orders_at ON orders (at);
CREATE INDEX orders_note ON orders (note);
--- safe
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, at INTEGER) STRICT;
INSERT INTO orders_new (id, at) SELECT id, at FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE INDEX orders_at ON orders (at);

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER);
CREATE INDEX orders_at ON orders (at);
CREATE TRIGGER orders_kept BEFORE DELETE ON orders BEGIN SELECT RAISE(ABORT, 'no'); END;
--- rebuild-loses-objects
CREATE TABLE "orders_new" (id INTEGER PRIMARY KEY, at INTEGER);
INSERT INTO orders_new (id, at) SELECT id, at FROM orders;
DROP INDEX orders_at;
DROP TABLE [orders];
ALTER TABLE `orders_new` RENAME TO Orders;
--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER);
CREATE TRIGGER orders_kept BEFORE DELETE ON orders BEGIN SELECT RAISE(ABORT, 'no'); END;
--- safe
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, at INTEGER);
INSERT INTO orders_new (id, at) SELECT id, at FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE TRIGGER orders_kept BEFORE DELETE ON orders BEGIN SELECT RAISE(ABORT, 'no'); END;

--- rename-old-table-away, drop-table
ALTER TABLE orders RENAME TO orders_old;
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
INSERT INTO orders (id, note) SELECT id, note FROM orders_old;
DROP TABLE orders_old;
--- safe
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);
INSERT INTO orders_new (id, note) SELECT id, note FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
CREATE VIEW notes AS SELECT note FROM orders;
--- rename-breaks-views
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
CREATE VIEW notes AS SELECT note FROM orders;
--- safe
DROP VIEW notes;
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE VIEW notes AS SELECT note FROM orders;

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
CREATE TABLE users (id INTEGER PRIMARY KEY);
CREATE TRIGGER users_gone AFTER DELETE ON users BEGIN DELETE FROM orders WHERE user_id = OLD.id; END;
--- rename-breaks-views
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
--- safe
ALTER TABLE orders ADD COLUMN note TEXT;

--- drop-column
ALTER TABLE orders DROP COLUMN note;
--- safe
-- lint:allow drop-column: no release since 1.4 reads it
ALTER TABLE orders DROP COLUMN note;

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER);
CREATE INDEX orders_at ON orders (id) WHERE at IS NOT NULL;
--- drop-column-refused, drop-column
ALTER TABLE orders DROP COLUMN at;
--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER);
CREATE INDEX orders_at ON orders (id) WHERE at IS NOT NULL;
--- safe
DROP INDEX orders_at;
-- lint:allow drop-column: no release since 1.4 reads it
ALTER TABLE orders DROP COLUMN at;

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER);
CREATE VIEW late AS SELECT id FROM orders WHERE at < 5;
--- drop-column-refused, drop-column
ALTER TABLE orders DROP COLUMN at;
--- safe
DROP INDEX orders_at;

--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER UNIQUE);
--- drop-column-refused, drop-column
ALTER TABLE orders DROP COLUMN at;
--- safe
ALTER TABLE orders ADD COLUMN until INTEGER;

--- not-in-sqlite
ALTER TABLE orders ALTER COLUMN amount TYPE BIGINT;
--- safe
ALTER TABLE orders ALTER COLUMN amount DROP NOT NULL;

--- not-in-sqlite
ALTER TABLE orders ADD COLUMN a TEXT, ADD COLUMN b TEXT;
--- safe
ALTER TABLE orders ADD COLUMN a TEXT;
ALTER TABLE orders ADD COLUMN b TEXT;

--- not-in-sqlite
ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE (number);
--- safe
ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0);

--- not-in-sqlite
TRUNCATE TABLE orders;
--- safe
DELETE FROM orders WHERE state = 'void';

--- not-in-sqlite
CREATE INDEX CONCURRENTLY orders_at ON orders (at);
--- safe
CREATE INDEX orders_at ON orders (at);

--- update-without-where
UPDATE OR IGNORE orders SET note = '';
--- safe
UPDATE orders SET note = '' WHERE note IS NULL;

--- delete-without-where
DELETE FROM orders;
--- safe
CREATE TABLE scratch (id INTEGER PRIMARY KEY);
DELETE FROM scratch;

--- copy-by-position
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);
INSERT INTO orders_new SELECT * FROM orders;
--- safe
CREATE TABLE orders_new (id INTEGER PRIMARY KEY, note TEXT);
INSERT INTO orders_new (id, note) SELECT id, note FROM orders;

--- double-quoted-text
ALTER TABLE orders ADD COLUMN state TEXT NOT NULL DEFAULT "new";
--- safe
ALTER TABLE "orders" ADD COLUMN "state" TEXT NOT NULL DEFAULT 'new';

--- double-quoted-text
INSERT INTO kinds (id, name) VALUES (1, "shop");
--- safe
INSERT INTO "kinds" ("id", "name") VALUES (1, 'shop') ON CONFLICT ("id") DO UPDATE SET "name" = excluded."name";

--- double-quoted-text
UPDATE orders SET state = "not paid" WHERE id = 5;
--- before
CREATE TABLE orders (id INTEGER PRIMARY KEY, "old state" TEXT);
--- safe
UPDATE orders SET state = "old_state" WHERE "id" = 5 AND kind = "old state";

--- double-quoted-text
DELETE FROM orders WHERE note LIKE "%spam%";
--- safe
DELETE FROM orders WHERE note LIKE '%spam%' AND "kind" = 'x';

--- rowid-alias
CREATE TABLE orders (id INT PRIMARY KEY, note TEXT);
--- safe
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT);

--- rowid-alias
CREATE TABLE orders (id BIGINT NOT NULL, note TEXT, PRIMARY KEY (id));
--- safe
CREATE TABLE orders (id BIGINT NOT NULL, note TEXT, PRIMARY KEY (id)) WITHOUT ROWID;

--- foreign-key-without-index
CREATE TABLE lines (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE SET DEFAULT);
--- safe
CREATE TABLE lines (order_id INTEGER NOT NULL REFERENCES orders (id), number INTEGER, PRIMARY KEY (order_id, number));

--- rename-column
ALTER TABLE orders RENAME COLUMN amount TO total;
--- safe
ALTER TABLE orders ADD COLUMN total INTEGER;

--- rename-table
ALTER TABLE orders RENAME TO purchases;
--- safe
CREATE VIEW purchases AS SELECT id, note FROM orders;

--- drop-table
DROP TABLE orders;
--- safe
DROP TRIGGER orders_kept;

--- drop-view
DROP VIEW notes;
--- safe
DROP VIEW notes;
CREATE VIEW notes AS SELECT id, note FROM orders;

--- if-not-exists
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY);
--- safe
CREATE TEMP TABLE IF NOT EXISTS scratch (id INTEGER PRIMARY KEY);
