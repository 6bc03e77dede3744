DROP VIEW replace; DROP TRIGGER begin; DROP TABLE span;
