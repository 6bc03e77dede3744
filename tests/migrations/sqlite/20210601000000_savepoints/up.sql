SAVEPOINT one;
INSERT INTO users (email, created_at, updated_at) VALUES ('guess; who', datetime('now'), CURRENT_TIMESTAMP);
SAVEPOINT "two;";
DELETE FROM users;
ROLLBACK TRANSACTION TO SAVEPOINT "two;";
RELEASE "two;";
ROLLBACK TO one;
RELEASE SAVEPOINT one;
INSERT INTO users (email, created_at, updated_at) VALUES ('a@example.org', '2021-06-01', '2021-06-01');
