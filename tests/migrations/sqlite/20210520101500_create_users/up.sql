CREATE TABLE IF NOT EXISTS "users" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "email" varchar DEFAULT '' NOT NULL, "encrypted_password" varchar DEFAULT '' NOT NULL, "created_at" datetime(6) NOT NULL, "updated_at" datetime(6) NOT NULL);
CREATE UNIQUE INDEX "index_users_on_email" ON "users" ("email");
ALTER TABLE "list" ADD "user_id" integer DEFAULT NULL REFERENCES "users" ("id");
CREATE INDEX "index_list_on_user_id" ON "list" ("user_id")
