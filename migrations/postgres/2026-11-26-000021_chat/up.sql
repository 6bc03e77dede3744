-- Conversations that were not used for long are found by it.
CREATE INDEX conversations_updated_at_idx ON conversations (updated_at);
