CREATE TABLE reading (sensor text NOT NULL, kind char(1) NOT NULL, value double precision, at timestamptz NOT NULL) PARTITION BY LIST (kind);
CREATE TABLE reading_t PARTITION OF reading FOR VALUES IN ('t', ';');
CREATE TABLE reading_h PARTITION OF reading FOR VALUES IN ('h') PARTITION BY HASH (sensor);
CREATE TABLE reading_h0 PARTITION OF reading_h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE reading_h1 PARTITION OF reading_h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE reading_x (LIKE reading INCLUDING ALL, CONSTRAINT only_x CHECK (kind = 'x'));
ALTER TABLE reading ATTACH PARTITION reading_x FOR VALUES IN ('x');
INSERT INTO reading SELECT 's' || n, (ARRAY['t','h','x'])[1 + n % 3], .5 * n, now() FROM generate_series(0, 20) n;
