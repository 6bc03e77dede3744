SAVEPOINT before_guess;
INSERT INTO feature VALUES ('guess', true);
ROLLBACK TO SAVEPOINT before_guess;
RELEASE SAVEPOINT before_guess;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO members_site (id, slug, owner_id) SELECT -1, 'main', min(id) FROM members_member HAVING min(id) IS NOT NULL;
SET CONSTRAINTS ALL IMMEDIATE;
