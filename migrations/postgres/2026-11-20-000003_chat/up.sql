CREATE TABLE conversations (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    title text,
    model text,
    instructions text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Until when an answer is being written in it.
    busy_until timestamptz,
    CONSTRAINT conversations_pkey PRIMARY KEY (id),
    CONSTRAINT conversations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX conversations_user_id_id_idx ON conversations (user_id, id);

CREATE TABLE messages (
    id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    role text NOT NULL,
    content text NOT NULL,
    status text NOT NULL,
    model text,
    prompt_tokens bigint,
    completion_tokens bigint,
    cached_tokens bigint,
    reasoning_tokens bigint,
    created_at timestamptz NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (id),
    CONSTRAINT messages_conversation_id_fkey
        FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE CASCADE
);
-- Message ids are in the conversation's order.
CREATE INDEX messages_conversation_id_id_idx ON messages (conversation_id, id);
