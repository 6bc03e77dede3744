DROP INDEX "index_list_on_user_id";
ALTER TABLE "list" DROP COLUMN "user_id";
DROP TABLE "users"
