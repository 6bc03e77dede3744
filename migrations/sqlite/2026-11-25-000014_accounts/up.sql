-- The name in the form in which admins search for it, case-folded as addresses are; empty where there is no name.
-- What is here already is folded as well as the database can: anew, whenever the account changes.
ALTER TABLE users ADD COLUMN name_folded TEXT NOT NULL DEFAULT '';
UPDATE users SET name_folded = lower(name) WHERE name IS NOT NULL;
