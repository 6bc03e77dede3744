ALTER TABLE task ADD COLUMN slug TEXT GENERATED ALWAYS AS (lower(replace(title, ' ', '-')) || ';') VIRTUAL;
ALTER TABLE task ADD COLUMN priority INT NOT NULL DEFAULT -1 CHECK (priority BETWEEN -1 AND 1e1);
CREATE INDEX task_open_idx ON task (priority DESC, slug) WHERE state <> 'done' AND priority>=-1;
CREATE UNIQUE INDEX task_title_key ON task (list_id, lower(title), substr(title, 1, 3)||';');
