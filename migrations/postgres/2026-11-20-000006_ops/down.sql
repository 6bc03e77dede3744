DROP TABLE deployment;
DROP TABLE idempotency_keys;
