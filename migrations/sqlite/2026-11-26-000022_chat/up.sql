-- Which of the operator's assistants answers, by its id. What it says stands in the configuration only.
ALTER TABLE conversations ADD COLUMN assistant TEXT;
-- Whether moderation refused a message: the model is not shown it again.
ALTER TABLE messages ADD COLUMN filtered INTEGER NOT NULL DEFAULT 0;
