CREATE TABLE conversations (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title TEXT,
    model TEXT,
    instructions TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Until when an answer is being written in it.
    busy_until INTEGER
) STRICT;
CREATE INDEX conversations_user_id_id_idx ON conversations (user_id, id);

CREATE TABLE messages (
    id BLOB NOT NULL PRIMARY KEY,
    conversation_id BLOB NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    status TEXT NOT NULL,
    model TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    reasoning_tokens INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
-- Message ids are in the conversation's order.
CREATE INDEX messages_conversation_id_id_idx ON messages (conversation_id, id);
