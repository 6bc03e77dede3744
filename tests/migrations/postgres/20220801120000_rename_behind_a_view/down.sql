DROP VIEW document;
DROP FUNCTION document_insert();
ALTER INDEX page_search_idx RENAME TO document_search_idx;
ALTER TABLE page RENAME COLUMN content TO body;
ALTER TABLE page RENAME TO document;
