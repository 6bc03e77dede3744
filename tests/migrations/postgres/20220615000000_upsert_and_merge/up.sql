CREATE TABLE stock (item text PRIMARY KEY, left_over integer NOT NULL CHECK (left_over >= 0), seen timestamptz);
INSERT INTO stock AS s VALUES ('chalk; white', 10, now()), ('chalk; red', 0, NULL)
  ON CONFLICT ON CONSTRAINT stock_pkey DO NOTHING;
INSERT INTO stock AS s (item, left_over) VALUES ('chalk; white', 5)
  ON CONFLICT (item) DO UPDATE SET left_over = s.left_over + excluded.left_over, seen = now() RETURNING (xmax = 0) AS inserted;
MERGE INTO stock AS s
USING (VALUES ('chalk; white', -3), ('sponge', 4)) AS d (item, delta) ON d.item = s.item
WHEN MATCHED AND s.left_over + d.delta > 0 THEN UPDATE SET left_over = s.left_over + d.delta
WHEN MATCHED THEN DELETE
WHEN NOT MATCHED AND d.delta > 0 THEN INSERT (item, left_over) VALUES (d.item, d.delta)
WHEN NOT MATCHED THEN DO NOTHING;
TRUNCATE stock RESTART IDENTITY CASCADE;
