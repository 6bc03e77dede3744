CREATE OR REPLACE FUNCTION set_updated_at() RETURNS TRIGGER AS $$
BEGIN
  -- Without this; every caller would have to remember it.
  NEW.updated_at = now();
  RETURN NEW;
END;
$$ LANGUAGE plpgsql;

ALTER TABLE room ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE "members_member" ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

CREATE TRIGGER room_set_updated_at BEFORE UPDATE ON room
  FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER member_set_updated_at BEFORE UPDATE ON members_member
  FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE PROCEDURE set_updated_at();
