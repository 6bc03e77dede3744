DROP INDEX idempotency_keys_held_by_idx;
ALTER TABLE idempotency_keys DROP COLUMN made_id;
ALTER TABLE idempotency_keys DROP COLUMN held_by;
DROP INDEX conversations_busy_by_idx;
ALTER TABLE conversations DROP COLUMN busy_by;
