CREATE FUNCTION minutes_between(x time, y time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
RETURN extract(epoch FROM x - y) / 60;

CREATE TYPE timerange AS RANGE (
  subtype = time,
  subtype_diff = minutes_between,
  multirange_type_name = timemultirange
);
CREATE TABLE opening (
  id      integer PRIMARY KEY,
  day     weekday NOT NULL,
  open    timerange NOT NULL CHECK (NOT isempty(open)),
  breaks  timemultirange NOT NULL DEFAULT '{}',
  "end"   time GENERATED ALWAYS AS (upper(open)) STORED,
  EXCLUDE USING gist ((CASE day WHEN 'sa' THEN int4range(6, 6, '[]') ELSE int4range(0, 5, '[)') END) WITH &&, open WITH &&, int4range(id, id, '[]') WITH &&)
);
INSERT INTO opening (id, day, open, breaks) VALUES
  (1, 'mon', '[08:00,18:00)', '{[12:00,13:00)}'),
  (2, 'sa', timerange('10:00', '16:00', '[)'), timemultirange(timerange('12:00', '12:15'), timerange('14:00', '14:15')));
SELECT open * '[09:00,10:00]'::timerange, open -|- '[18:00,19:00)', open @> time '09:00', open << '[20:00,21:00)' FROM opening WHERE NOT open &> '[19:00,)';
