DROP TABLE password_credentials;
DROP TABLE users;
