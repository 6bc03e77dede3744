-- What was used and is held with keys stays; the version before knows no other way to say with what than a session.
DELETE FROM reservations WHERE meter = 'key_budget';
DELETE FROM quota_windows WHERE owner_kind = 'api_key';
UPDATE reservations SET session_id = '00000000-0000-0000-0000-000000000000' WHERE session_id IS NULL;
UPDATE usage_events SET session_id = '00000000-0000-0000-0000-000000000000' WHERE session_id IS NULL;
ALTER TABLE usage_events DROP COLUMN api_key_id;
ALTER TABLE usage_events ALTER COLUMN session_id SET NOT NULL;
ALTER TABLE reservations DROP COLUMN api_key_id;
ALTER TABLE reservations ALTER COLUMN session_id SET NOT NULL;
DROP TABLE api_key_secrets;
DROP TABLE api_keys;
