PRAGMA foreign_keys=OFF;
CREATE TABLE "old__list" (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(80) NOT NULL);
INSERT INTO "old__list" SELECT "id", "name" FROM "list";
DROP TABLE "list";
ALTER TABLE "old__list" RENAME TO "list";
PRAGMA foreign_key_check;
PRAGMA foreign_keys=ON;
