-- Your SQL goes here
CREATE TABLE "sessions"(
	"id" UUID NOT NULL PRIMARY KEY,
	"user_id" INT8 NOT NULL,
	"data" BYTEA NOT NULL DEFAULT '\x',
	"expires_at" TIMESTAMP NOT NULL,
	FOREIGN KEY ("user_id") REFERENCES "members_member"("id")
);

