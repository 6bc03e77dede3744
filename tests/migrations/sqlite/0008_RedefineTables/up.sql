-- RedefineTables
PRAGMA defer_foreign_keys=ON;
CREATE TABLE "new_task_log" (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "task_id" INTEGER NOT NULL,
    "what" TEXT NOT NULL,
    "at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CONSTRAINT "task_log_task_id_fkey" FOREIGN KEY ("task_id") REFERENCES "task" ("id") ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "new_task_log" ("at", "task_id", "what") SELECT "at", "task_id", coalesce("what", ';') AS "what" FROM "task_log";
DROP TABLE "task_log";
PRAGMA legacy_alter_table = ON;
ALTER TABLE "new_task_log" RENAME TO "task_log";
PRAGMA legacy_alter_table = OFF;
PRAGMA defer_foreign_keys=OFF;
