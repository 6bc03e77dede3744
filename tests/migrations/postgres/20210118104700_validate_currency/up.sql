SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout TO '10min';
ALTER TABLE price VALIDATE CONSTRAINT price_currency_fkey;
ALTER TABLE price VALIDATE CONSTRAINT price_currency_given;
ALTER TABLE price ALTER COLUMN currency SET NOT NULL;  -- needs no scan: the check says so
ALTER TABLE price DROP CONSTRAINT price_currency_given;
RESET lock_timeout;
