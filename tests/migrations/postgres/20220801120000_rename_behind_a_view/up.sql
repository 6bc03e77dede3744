ALTER TABLE document RENAME TO page;
ALTER TABLE page RENAME COLUMN body TO content;
ALTER INDEX document_search_idx RENAME TO page_search_idx;
CREATE VIEW document WITH (security_invoker = on) AS SELECT id, title, content AS body, words, search FROM page;
COMMENT ON VIEW document IS 'For the version before; goes with the next one';
CREATE FUNCTION document_insert() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO page (title, content) VALUES (NEW.title, coalesce(NEW.body, ';')); RETURN NEW; END; $f$;
CREATE TRIGGER document_insert INSTEAD OF INSERT ON document FOR EACH ROW EXECUTE FUNCTION document_insert();
