ALTER TABLE price ADD COLUMN currency char(3);
ALTER TABLE price ADD CONSTRAINT price_currency_fkey FOREIGN KEY (currency) REFERENCES currency (code) NOT VALID;
ALTER TABLE price ADD CONSTRAINT price_currency_given CHECK (currency IS NOT NULL) NOT VALID;
