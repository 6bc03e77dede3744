ALTER TABLE price ADD CONSTRAINT price_currency_given CHECK (currency IS NOT NULL) NOT VALID;
ALTER TABLE price ALTER COLUMN currency DROP NOT NULL;
ALTER TABLE price DROP CONSTRAINT price_currency_fkey, ADD CONSTRAINT price_currency_fkey FOREIGN KEY (currency) REFERENCES currency NOT VALID;
