ALTER TABLE "counter;s" DROP COLUMN since;
ALTER TABLE "counter;s" RENAME TO counter;
ALTER TABLE task RENAME COLUMN "changes;" TO changed;
