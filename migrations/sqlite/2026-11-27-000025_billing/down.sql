ALTER TABLE billing_events DROP COLUMN purchase;
DROP TABLE credit_entries;
DROP TABLE credit_grants;
DROP TABLE credit_accounts;
