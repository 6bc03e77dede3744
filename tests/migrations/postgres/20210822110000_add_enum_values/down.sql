-- A value cannot be taken out; nothing uses the type yet
DROP TYPE weekday;
CREATE TYPE weekday AS ENUM ('mo', 'tu', 'we', 'th', 'fr', 'sa', 'su');
