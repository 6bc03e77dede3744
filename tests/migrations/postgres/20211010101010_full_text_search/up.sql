CREATE TEXT SEARCH CONFIGURATION halle (COPY = simple);
CREATE TABLE document (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  title text NOT NULL COLLATE "C",
  body text NOT NULL,
  words integer GENERATED ALWAYS AS (array_length(regexp_split_to_array(body, '\s+;?'), 1)) STORED,
  search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('halle'::regconfig, title), 'A') || setweight(to_tsvector('halle'::regconfig, body), 'B')
  ) STORED
);
CREATE INDEX document_search_idx ON document USING gin (search) WITH (fastupdate = off);
CREATE INDEX document_title_idx ON document (lower(title) text_pattern_ops, (length(body) / 100)) INCLUDE (words) WHERE title <> '';
CREATE STATISTICS document_stats (dependencies, ndistinct) ON title, words FROM document;
INSERT INTO document (title, body) VALUES
  ('House rules', $md$
# House rules; short

1. Don't smoke;
2. Say "hello" -- always.
3. $5 for a lost key, $$10 for two.

/* The end */
$md$),
  ('Empty', '');
