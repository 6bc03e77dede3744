ALTER TABLE task RENAME COLUMN changed TO "changes;";
ALTER TABLE counter RENAME TO "counter;s";
ALTER TABLE "counter;s" ADD COLUMN since TEXT DEFAULT '; never' NOT NULL COLLATE RTRIM;
