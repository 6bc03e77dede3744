DO $$ BEGIN DROP TYPE IF EXISTS weekday; END $$;
ALTER TABLE price DROP created_by;
ALTER TABLE room DROP created_by;
