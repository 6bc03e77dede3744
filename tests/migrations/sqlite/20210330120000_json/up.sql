ALTER TABLE task ADD COLUMN extra TEXT NOT NULL DEFAULT '{"tags": [";"], "n": 1}' CHECK (json_valid(extra));
CREATE INDEX task_extra_n ON task (json_extract(extra, '$.n'), extra->>'$.tags[0]', extra->'n');
UPDATE task SET extra = json_set(extra, '$.n', extra->>'n'+1, '$."a;b"', json_array(1, 'x;', NULL)) WHERE json_type(extra, '$.tags') = 'array';
CREATE VIEW task_tag AS SELECT task.id, tag.value AS tag FROM task, json_each(task.extra, '$.tags') AS tag WHERE tag.type = 'text';
INSERT INTO setting (key, scope, value) SELECT 'tags', 0, json_group_array(DISTINCT tag) FILTER (WHERE tag GLOB '[a-z;]*') FROM task_tag;
