DROP TRIGGER tags_ad;
DROP TRIGGER tags_au;
DROP TRIGGER tags_ai;
UPDATE tags SET name = 'red; hot' WHERE id = 1;
DROP TABLE audit;
