ALTER TABLE room ADD COLUMN settings jsonb NOT NULL DEFAULT '{"seats": [1, 2], "a;b": {"c": null}}';
ALTER TABLE room ADD CONSTRAINT settings_are_an_object CHECK (jsonb_typeof(settings)='object' AND NOT settings?'secret');
CREATE INDEX room_settings_idx ON room USING gin (settings jsonb_path_ops) WHERE settings @> '{"public": true}';
CREATE VIEW room_flags AS
SELECT id,
       settings->'a;b'->>'c' AS c,
       settings #>> '{seats,0}' AS first_seat,
       settings#>'{seats}' AS seats,
       settings ?| array['a', 'b'] AS any_of,
       settings ?& array['a', 'b'] AS all_of,
       settings @? '$.seats[*] ? (@ > 1)' AS big,
       settings @@ '$.public == true' AS is_public,
       name !~* '^(tmp|test);' AND name !~~* '%;%' AS is_real,
       5<>-1 AND 2*-3<-5 AS signs,
       @ -5 AS magnitude, |/ 25.0 AS root, 2^3 AS cube, 7%4 AS rest, 6#3 AS bits, ~1 AS flipped, 1<<4>>2 AS shifted,
       .5+1.e0-1e-5+1E+3 AS numbers,
       (ARRAY[1,2,3,4])[2:3] AS slice, (array[[1,2],[3,4]])[1][:2] AS slice2, '{1,2}'::int[] && '{2}'::int[] AS overlaps,
       CAST('1' AS integer)::text::varchar(3)||';'::text AS casts,
       (1, 'a') IS DISTINCT FROM (2, 'b') AS differs,
       current_date AT TIME ZONE 'UTC' AS "at;time"
FROM room;
