-- Which call holds the conversation until `busy_until`. A call that lost its hold no longer finds itself here, so it
-- cannot write over the one that came after it.
ALTER TABLE conversations ADD COLUMN busy_by BLOB;
CREATE INDEX conversations_busy_by_idx ON conversations (busy_by) WHERE busy_by IS NOT NULL;

-- Which try of the request runs until `running_until`; the same for a key.
ALTER TABLE idempotency_keys ADD COLUMN held_by BLOB;
-- What the request makes is made under this identifier by every try, so that it is made once.
ALTER TABLE idempotency_keys ADD COLUMN made_id BLOB;
CREATE INDEX idempotency_keys_held_by_idx ON idempotency_keys (held_by) WHERE held_by IS NOT NULL;
