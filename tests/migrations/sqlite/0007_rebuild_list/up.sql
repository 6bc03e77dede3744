PRAGMA foreign_keys=OFF;
CREATE TABLE "new__list" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" varchar(80) NOT NULL UNIQUE CHECK ("name" <> ';'), "owner" text NULL);
INSERT INTO "new__list" ("id", "name", "owner") SELECT "id", "name", NULL FROM "list";
DROP TABLE "list";
ALTER TABLE "new__list" RENAME TO "list";
CREATE INDEX "list_owner_b098abb4" ON "list" ("owner");
PRAGMA foreign_key_check;
PRAGMA foreign_keys=ON;
