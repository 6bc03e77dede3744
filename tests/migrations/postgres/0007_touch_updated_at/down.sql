DROP TRIGGER member_set_updated_at ON members_member;
DROP TRIGGER room_set_updated_at ON room;
ALTER TABLE "members_member" DROP COLUMN updated_at;
ALTER TABLE room DROP COLUMN updated_at;
DROP FUNCTION set_updated_at();
