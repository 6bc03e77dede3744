CREATE TABLE event (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  kind text NOT NULL,
  at timestamptz NOT NULL,
  payload jsonb NOT NULL DEFAULT '{}'::jsonb,
  PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);

CREATE TABLE event_2019 PARTITION OF event FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE event_2020 PARTITION OF event FOR VALUES FROM ('2020-01-01') TO (MAXVALUE) WITH (fillfactor = 90);
CREATE TABLE event_other PARTITION OF event DEFAULT;

CREATE INDEX ON event (kind, at DESC NULLS LAST) INCLUDE (id);

DO $do$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['2019', '2020'] LOOP
    EXECUTE 'COMMENT ON TABLE event_' || name || ' IS $c$Events of ' || name || '; read only$c$';
  END LOOP;
END;
$do$;

INSERT INTO event (kind, at) SELECT 'seed;' || n, timestamptz '2019-12-30' + n * interval '1 day' FROM generate_series(1, 5) AS n;
