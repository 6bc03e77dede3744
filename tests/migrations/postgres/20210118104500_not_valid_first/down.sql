ALTER TABLE price DROP CONSTRAINT price_currency_given;
ALTER TABLE price DROP CONSTRAINT price_currency_fkey;
ALTER TABLE price DROP COLUMN currency;
