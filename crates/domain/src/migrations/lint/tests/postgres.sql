--- index-not-concurrent
CREATE INDEX orders_at ON orders (at);
--- safe | no transaction
CREATE INDEX CONCURRENTLY orders_at ON orders (at);

--- index-not-concurrent
CREATE UNIQUE INDEX ON "Shop"."Orders" USING btree (number) WHERE number IS NOT NULL;
--- safe
-- Tables that a migration makes itself are empty.
CREATE TABLE "Shop"."Orders" (id uuid PRIMARY KEY, number text);
CREATE UNIQUE INDEX ON "Shop"."Orders" USING btree (number) WHERE number IS NOT NULL;

--- index-not-concurrent
-- A table of another schema is made, not this one.
CREATE TABLE archive.orders (id uuid PRIMARY KEY);
CREATE INDEX orders_at ON orders (at);
--- safe
-- On a partitioned table alone nothing is built.
CREATE INDEX orders_at ON ONLY orders (at);

--- concurrently-in-transaction
CREATE INDEX CONCURRENTLY orders_at ON orders (at);
--- safe | no transaction
CREATE INDEX CONCURRENTLY orders_at ON orders (at);
CREATE INDEX CONCURRENTLY orders_by ON orders (by);

--- concurrently-in-transaction
DROP INDEX CONCURRENTLY orders_at;
--- safe | no transaction
DROP INDEX CONCURRENTLY IF EXISTS orders_at;

--- concurrently-in-transaction
ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY;
--- safe | no transaction
ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY;

--- drop-index-not-concurrent
DROP INDEX orders_at;
--- safe | no transaction
DROP INDEX CONCURRENTLY orders_at;

--- reindex-not-concurrent
REINDEX TABLE orders;
--- safe | no transaction
REINDEX TABLE CONCURRENTLY orders;

--- reindex-not-concurrent
REINDEX (VERBOSE) INDEX orders_at;
--- safe | no transaction
REINDEX (VERBOSE, CONCURRENTLY) INDEX orders_at;

--- concurrent-index-if-not-exists | no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_at ON orders (at);
--- safe | no transaction
DROP INDEX CONCURRENTLY IF EXISTS orders_at;
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_at ON orders (at);

--- unique-builds-index
ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE (number);
--- safe
ALTER TABLE orders ADD CONSTRAINT orders_number_key UNIQUE USING INDEX orders_number_idx;

--- unique-builds-index
ALTER TABLE orders ADD COLUMN number text UNIQUE;
--- safe
ALTER TABLE orders ADD COLUMN number text;

--- primary-key-builds-index
ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
--- safe
ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY USING INDEX orders_id_idx;

--- exclude-builds-index
ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&);
--- safe
CREATE TABLE bookings (room int, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&));

--- foreign-key-validates
ALTER TABLE orders ADD CONSTRAINT orders_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL;
--- safe
ALTER TABLE orders ADD CONSTRAINT orders_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL NOT VALID;

--- foreign-key-validates, foreign-key-without-index
ALTER TABLE orders ADD COLUMN shop_id bigint DEFAULT 1 REFERENCES shops;
--- safe
-- Without a value there is nothing to be checked. A table of its own has its index.
ALTER TABLE orders ADD COLUMN shop_id bigint REFERENCES shops;
-- lint:allow index-not-concurrent: no row has one yet, and the table is small
CREATE INDEX ON orders (shop_id);

--- check-validates
ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0);
--- safe
ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID;

--- check-validates
ALTER TABLE orders ADD COLUMN amount int CHECK (amount > 0);
--- safe
ALTER TABLE orders ADD COLUMN amount int, ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID;

--- check-validates
ALTER TABLE orders ADD CONSTRAINT amount_there NOT NULL amount;
--- safe
ALTER TABLE orders ADD CONSTRAINT amount_there NOT NULL amount NOT VALID;

--- domain-validates
ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE LIKE '%@%');
--- safe
ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (VALUE LIKE '%@%') NOT VALID;

--- validate-under-lock
ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT positive;
--- safe
ALTER TABLE orders VALIDATE CONSTRAINT positive;

--- validate-under-lock | no transaction
ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID, VALIDATE CONSTRAINT positive;
--- safe | no transaction
ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT positive;

--- validate-under-lock
ALTER TABLE orders ADD COLUMN note text;
ALTER TABLE orders VALIDATE CONSTRAINT positive;
--- safe
ALTER TABLE orders VALIDATE CONSTRAINT positive;
ALTER TABLE orders ADD COLUMN note text;

--- set-not-null-scans
ALTER TABLE orders ALTER COLUMN amount SET NOT NULL;
--- safe
ALTER TABLE orders VALIDATE CONSTRAINT amount_there;
ALTER TABLE orders ALTER COLUMN amount SET NOT NULL;
ALTER TABLE orders DROP CONSTRAINT amount_there;

--- before
CREATE TABLE orders (id uuid PRIMARY KEY, amount int);
ALTER TABLE orders ADD CONSTRAINT amount_there CHECK (amount IS NOT NULL) NOT VALID;
--- set-not-null-scans
ALTER TABLE orders ALTER COLUMN amount SET NOT NULL;
--- before
CREATE TABLE orders (id uuid PRIMARY KEY, amount int);
ALTER TABLE orders ADD CONSTRAINT amount_there CHECK (amount IS NOT NULL) NOT VALID;
--- before
ALTER TABLE orders VALIDATE CONSTRAINT amount_there;
--- safe
ALTER TABLE orders ALTER amount SET NOT NULL;

--- before
CREATE TABLE orders (id uuid PRIMARY KEY, amount int, note text CONSTRAINT there CHECK (note IS NOT NULL AND note <> ''));
--- set-not-null-scans
ALTER TABLE orders ALTER COLUMN amount SET NOT NULL;
--- safe
ALTER TABLE orders ALTER COLUMN amount DROP NOT NULL;

--- add-not-null-column
ALTER TABLE orders ADD COLUMN amount int NOT NULL;
--- safe
ALTER TABLE orders ADD COLUMN amount int NOT NULL DEFAULT 0;

--- add-not-null-column
ALTER TABLE orders ADD amount int DEFAULT NULL NOT NULL;
--- safe
ALTER TABLE orders ADD amount int DEFAULT NULL;

--- volatile-default
ALTER TABLE orders ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid();
--- safe
ALTER TABLE orders ADD COLUMN token uuid;
ALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid();

--- volatile-default
ALTER TABLE orders ADD COLUMN seen_at timestamptz DEFAULT clock_timestamp();
--- safe
ALTER TABLE orders ADD COLUMN seen_at timestamptz DEFAULT now(), ADD COLUMN tags text[] DEFAULT '{}'::text[];

--- volatile-default
ALTER TABLE orders ADD COLUMN number int DEFAULT nextval('numbers');
--- safe
ALTER TABLE orders ADD COLUMN number varchar(20) DEFAULT CAST('x' AS varchar(20));

--- stored-generated-column
ALTER TABLE orders ADD COLUMN total int GENERATED ALWAYS AS (amount * price) STORED;
--- safe
ALTER TABLE orders ADD COLUMN total int GENERATED ALWAYS AS (amount * price) VIRTUAL;

--- add-serial-column
ALTER TABLE orders ADD COLUMN number bigserial;
--- safe
CREATE SEQUENCE orders_number_seq;
ALTER TABLE orders ADD COLUMN number bigint;
ALTER TABLE orders ALTER COLUMN number SET DEFAULT nextval('orders_number_seq');

--- add-serial-column
ALTER TABLE orders ADD COLUMN number bigint GENERATED BY DEFAULT AS IDENTITY;
--- safe
CREATE TABLE orders (number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);

--- change-type
ALTER TABLE orders ALTER COLUMN id TYPE bigint;
--- safe
ALTER TABLE orders ADD COLUMN id_new bigint;

--- before
CREATE TABLE orders (id int, number varchar(20), note text, price numeric(10,2), at timestamp(3));
--- change-type
ALTER TABLE orders ALTER COLUMN number TYPE varchar(10);
--- before
CREATE TABLE orders (id int, number varchar(20), note text, price decimal(10, 2), net cidr);
--- safe
ALTER TABLE orders ALTER COLUMN number TYPE character varying(40), ALTER COLUMN price SET DATA TYPE numeric(12, 2);
ALTER TABLE orders ALTER COLUMN number TYPE text USING number::text;
ALTER TABLE orders ALTER COLUMN note TYPE varchar;
ALTER TABLE orders ALTER COLUMN net TYPE inet;

--- before
CREATE TABLE orders (price numeric(10,2));
--- change-type
ALTER TABLE orders ALTER COLUMN price TYPE numeric(12,3);
--- before
CREATE TABLE orders (price numeric(10,2));
--- safe
ALTER TABLE orders ALTER COLUMN price TYPE numeric;

--- before
CREATE TABLE orders (number varchar(20));
--- change-type
ALTER TABLE orders ALTER COLUMN number TYPE text USING lower(number);
--- before
CREATE TABLE orders (number varchar(20));
--- safe
ALTER TABLE orders ALTER COLUMN number TYPE varchar(20);

--- attach-partition-scans
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
--- safe
ALTER TABLE events_2026 VALIDATE CONSTRAINT in_2026;
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
ALTER TABLE events_2026 DROP CONSTRAINT in_2026;

--- before
CREATE TABLE events_2026 (at timestamptz NOT NULL);
--- attach-partition-scans
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
--- safe
CREATE TABLE events_2027 (at timestamptz NOT NULL);
ALTER TABLE events ATTACH PARTITION events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');

--- detach-partition-locks
ALTER TABLE events DETACH PARTITION events_2020;
--- safe | no transaction
ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY;

--- vacuum-full | no transaction
VACUUM (FULL, ANALYZE) orders;
--- safe | no transaction
VACUUM (ANALYZE) orders;

--- refused-in-transaction
VACUUM orders;
--- safe
ANALYZE orders;

--- refused-in-transaction
ALTER SYSTEM SET work_mem = '64MB';
--- safe | no transaction
ALTER SYSTEM SET work_mem = '64MB';

--- refused-in-transaction
CREATE DATABASE reports;
--- safe
CREATE SCHEMA reports;

--- cluster
CLUSTER orders USING orders_at;
--- safe
ALTER TABLE orders CLUSTER ON orders_at;

--- refresh-not-concurrent
REFRESH MATERIALIZED VIEW totals;
--- safe
REFRESH MATERIALIZED VIEW CONCURRENTLY totals;

--- set-tablespace
ALTER TABLE orders SET TABLESPACE fast;
--- safe
ALTER TABLE orders SET (fillfactor = 70);

--- rewrites-table
ALTER TABLE orders SET UNLOGGED;
--- safe
CREATE UNLOGGED TABLE cache (key text PRIMARY KEY, value bytea);

--- rewrites-table
ALTER TABLE orders ALTER COLUMN total SET EXPRESSION AS (amount * price * 2);
--- safe
ALTER TABLE orders ALTER COLUMN total SET STATISTICS 500;

--- lock-table
LOCK TABLE orders, users IN SHARE ROW EXCLUSIVE MODE;
--- safe
LOCK TABLE orders IN ROW SHARE MODE;

--- lock-timeout-off
SET LOCAL lock_timeout = 0;
--- safe
SET LOCAL lock_timeout = '2s';

--- lock-timeout-off | no transaction
SET lock_timeout TO '0ms';
CREATE INDEX CONCURRENTLY orders_at ON orders (at);
--- safe | no transaction
SET statement_timeout TO 0;
CREATE INDEX CONCURRENTLY orders_at ON orders (at);

--- lock-timeout-off, session-setting
SELECT pg_catalog.set_config('lock_timeout', '0', false);
SELECT pg_catalog.set_config('search_path', '', false);
--- safe
SELECT pg_catalog.set_config('lock_timeout', '5s', true);

--- session-setting
SET search_path TO app, public;
--- safe
ALTER TABLE app.orders ADD COLUMN note text;

--- session-setting
SET ROLE owner;
--- safe
RESET ROLE;

--- session-setting
SET LOCAL search_path = app;
--- safe
SET LOCAL maintenance_work_mem = '1GB';

--- session-setting
SET default_tablespace = fast;
--- safe
SET CONSTRAINTS ALL DEFERRED;

--- many-exclusive-locks
ALTER TABLE orders ADD COLUMN note text;
ALTER TABLE users ADD COLUMN note text;
--- safe | no transaction
ALTER TABLE orders ADD COLUMN note text;
ALTER TABLE users ADD COLUMN note text;

--- many-exclusive-locks
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE column_name = 'note') THEN
        ALTER TABLE orders ADD COLUMN note text;
        ALTER TABLE users ADD COLUMN note text;
    END IF;
END $$;
--- safe
ALTER TABLE orders ADD COLUMN note text;
CREATE TABLE notes (id uuid PRIMARY KEY);
ALTER TABLE notes ADD COLUMN note text;

--- disabled-triggers
ALTER TABLE orders DISABLE TRIGGER ALL;
ALTER TABLE orders ENABLE TRIGGER ALL;
--- safe
ALTER TABLE orders ENABLE TRIGGER ALL;

--- disabled-triggers
SET session_replication_role = 'replica';
--- safe
SET session_replication_role = 'origin';

--- drop-column
ALTER TABLE orders DROP COLUMN IF EXISTS note;
--- safe
-- lint:allow drop-column: no release since 1.4 reads it
ALTER TABLE orders DROP COLUMN IF EXISTS note;

--- drop-column, drop-cascade
ALTER TABLE orders DROP COLUMN note CASCADE;
--- safe
ALTER TABLE orders DROP CONSTRAINT positive;

--- drop-table
DROP TABLE orders_old;
--- safe
CREATE TABLE scratch (id uuid PRIMARY KEY);
DROP TABLE scratch;

--- drop-table, drop-table, drop-cascade
DROP TABLE IF EXISTS public.orders, users CASCADE;
--- safe
DROP FUNCTION total(uuid);

--- drop-view
DROP VIEW totals;
--- safe
DROP VIEW totals;
CREATE VIEW totals AS SELECT id, amount FROM orders;

--- drop-schema, drop-cascade
DROP SCHEMA legacy CASCADE;
--- safe
-- lint:allow drop-schema: empty since the migration before
DROP SCHEMA legacy;

--- rename-column
ALTER TABLE orders RENAME COLUMN amount TO total;
--- safe
ALTER TABLE orders ADD COLUMN total bigint;

--- rename-column
ALTER TABLE orders RENAME amount TO total;
--- safe
ALTER TABLE orders RENAME CONSTRAINT positive TO amount_positive;

--- rename-table
ALTER TABLE orders RENAME TO purchases;
--- safe
ALTER TABLE orders RENAME TO purchases;
CREATE VIEW orders AS SELECT * FROM purchases;

--- rename-table
ALTER TABLE orders SET SCHEMA shop;
--- safe
ALTER INDEX orders_at RENAME TO orders_at_idx;

--- truncate
TRUNCATE TABLE orders;
--- safe
CREATE TABLE scratch (id uuid PRIMARY KEY);
TRUNCATE scratch;

--- truncate, truncate-cascade
TRUNCATE orders CASCADE;
--- safe
DELETE FROM orders WHERE id = 1;

--- update-without-where
UPDATE orders SET total = (SELECT sum(amount) FROM lines WHERE lines.order_id = orders.id);
--- safe
UPDATE orders SET total = 0 WHERE id = 5;

--- update-without-where
DO $body$ DECLARE n int; BEGIN FOR n IN SELECT 1 LOOP UPDATE orders SET total = n; END LOOP; END $body$;
--- safe
DO $body$ BEGIN UPDATE orders SET total = CASE WHEN a THEN 1 ELSE 2 END WHERE id = 5; END $body$;

--- delete-without-where
DELETE FROM ONLY orders;
--- safe
DELETE FROM orders WHERE state IN ('void', 'spam');

--- delete-without-where
WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone;
--- safe
WITH old AS (SELECT id FROM orders WHERE at < '2020-01-01') DELETE FROM orders USING old WHERE orders.id = old.id AND kind = 'test';

--- unbatched-update
UPDATE orders SET total = amount * price WHERE total IS NULL;
--- safe | batch
UPDATE orders SET total = amount * price WHERE id BETWEEN :first AND :last AND total IS NULL;

--- unbatched-update
UPDATE orders o SET name = u.name FROM users u WHERE u.id = o.user_id;
--- safe
UPDATE orders SET name = 'x' WHERE id = ANY ('{1,2}') AND shop = 7;

--- mixed-changes
ALTER TABLE orders ADD COLUMN kind text;
UPDATE orders SET kind = 'shop' WHERE shop_id = 1;
--- safe
ALTER TABLE orders ADD COLUMN kind text;
INSERT INTO kinds (name) VALUES ('shop'), ('web');

--- mixed-changes
ALTER TABLE orders ADD COLUMN kind text;
CREATE TABLE days (day date PRIMARY KEY, orders bigint);
INSERT INTO days (day, orders) SELECT at::date, count(*) FROM orders GROUP BY 1;
--- safe
CREATE TABLE days (day date PRIMARY KEY, orders bigint);
INSERT INTO days (day, orders) SELECT at::date, count(*) FROM orders GROUP BY 1;

--- copy-by-position
CREATE TABLE orders_new (id uuid PRIMARY KEY, note text);
INSERT INTO orders_new SELECT * FROM orders;
--- safe
CREATE TABLE orders_new (id uuid PRIMARY KEY, note text);
INSERT INTO orders_new (id, note) SELECT id, note FROM orders;

--- enum-value-used
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'calm' BEFORE 'happy';
UPDATE people SET mood = 'calm' WHERE id = 1;
--- safe
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'calm' BEFORE 'happy';

--- enum-value-used
ALTER TYPE mood ADD VALUE 'calm';
ALTER TABLE people ALTER COLUMN mood SET DEFAULT 'calm';
--- safe
CREATE TYPE mood AS ENUM ('happy', 'calm');
CREATE TABLE people (id uuid PRIMARY KEY, mood mood DEFAULT 'calm');

--- enum-value-used
-- Before PostgreSQL 17, of a type that is new as well.
CREATE TYPE mood AS ENUM ('happy');
ALTER TYPE mood ADD VALUE 'calm';
CREATE TABLE people (id uuid PRIMARY KEY, mood mood DEFAULT 'calm');
--- safe | no transaction
ALTER TYPE mood ADD VALUE 'calm';
UPDATE people SET mood = 'calm' WHERE id = 1;

--- timestamp-without-zone, timestamp-without-zone
CREATE TABLE orders (id uuid PRIMARY KEY, at timestamp(6) without time zone, until timestamp);
--- safe
CREATE TABLE orders (id uuid PRIMARY KEY, at timestamp(6) with time zone, until timestamptz);

--- char-type
ALTER TABLE orders ADD COLUMN currency character(3);
--- safe
ALTER TABLE orders ADD COLUMN currency text, ADD COLUMN flag "char";

--- int-primary-key
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (id));
--- safe
CREATE TABLE orders (shop_id int, number int, PRIMARY KEY (shop_id, number));

--- int-primary-key, serial-not-identity
CREATE TABLE orders (id serial PRIMARY KEY);
--- safe
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);

--- json-not-jsonb
CREATE TABLE orders (id uuid PRIMARY KEY, details json);
--- safe
CREATE TABLE orders (id uuid PRIMARY KEY, details jsonb);

--- foreign-key-without-index
CREATE TABLE lines (id uuid PRIMARY KEY, order_id uuid NOT NULL REFERENCES orders (id) ON DELETE CASCADE);
--- safe
CREATE TABLE lines (id uuid PRIMARY KEY, order_id uuid NOT NULL REFERENCES orders (id) ON DELETE CASCADE);
CREATE INDEX lines_order ON lines (order_id, id);

--- foreign-key-without-index
-- An index of some rows finds not all of them.
CREATE TABLE lines (id uuid PRIMARY KEY, shop int, number int, FOREIGN KEY (shop, number) REFERENCES orders);
CREATE INDEX ON lines (number, shop) WHERE id IS NOT NULL;
--- safe
CREATE TABLE lines (id uuid PRIMARY KEY, shop int, number int, FOREIGN KEY (shop, number) REFERENCES orders);
CREATE INDEX ON lines (number, shop DESC) WHERE number IS NOT NULL AND (shop IS NOT NULL);

--- foreign-key-without-index
ALTER TABLE lines ADD COLUMN order_id uuid REFERENCES orders;
--- safe
-- The index is made by a later migration, since it cannot be in a transaction.
ALTER TABLE lines ADD COLUMN order_id uuid REFERENCES orders;
--- after | no transaction
CREATE INDEX CONCURRENTLY lines_order ON lines (order_id);

--- if-not-exists
CREATE TABLE IF NOT EXISTS orders (id uuid PRIMARY KEY);
--- safe
CREATE TABLE orders (id uuid PRIMARY KEY);

--- if-not-exists
ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text;
--- safe
CREATE EXTENSION IF NOT EXISTS pg_trgm;

--- before
CREATE TABLE orders (id uuid PRIMARY KEY, at timestamptz);
CREATE INDEX orders_at ON orders (at);
CREATE TRIGGER orders_watch AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION watch();
--- rebuild-loses-objects, rebuild-loses-objects
CREATE TABLE orders_new (id uuid PRIMARY KEY, at timestamptz);
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
--- before
CREATE TABLE orders (id uuid PRIMARY KEY, at timestamptz);
CREATE INDEX orders_at ON orders (at);
CREATE TRIGGER orders_watch AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION watch();
--- safe
CREATE TABLE orders_new (id uuid PRIMARY KEY, at timestamptz);
CREATE INDEX orders_new_at ON orders_new (at);
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE TRIGGER orders_watch AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION watch();

--- bad-suppression, drop-table
-- lint:allow drop-table
DROP TABLE orders;
--- safe
DROP TABLE orders; -- lint:allow drop-table: gone since 2.0

--- bad-suppression
-- lint:allow drop-tables: there is no such rule
SELECT 1;
--- safe
/* Both are gone.
 * lint:allow-file drop-table, drop-view: nobody has used them since 2.0
 */
DROP VIEW totals;
DROP TABLE orders;
DROP TABLE users;
