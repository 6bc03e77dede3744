ALTER TABLE "Booking"
	ALTER COLUMN "createdAt" TYPE timestamptz USING "createdAt" AT TIME ZONE 'UTC',
	ALTER COLUMN "createdAt" SET DEFAULT now();
ALTER TABLE feature ADD COLUMN kind text NOT NULL DEFAULT 'x;y';
ALTER TABLE feature ALTER kind TYPE text[] USING string_to_array(kind, ';'), ALTER kind DROP DEFAULT, ALTER kind SET DEFAULT ARRAY[]::text[];
ALTER TABLE feature ADD CONSTRAINT kinds_are_few CHECK (cardinality(kind) <= 3 AND kind[1:1] <> '{";"}');
ALTER TABLE room ALTER note SET STORAGE EXTERNAL, ALTER note SET STATISTICS 500, SET (fillfactor = 80);
