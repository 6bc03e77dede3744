DROP FUNCTION rounded(numeric, smallint);
DROP FUNCTION price_at(integer, date);
DROP TABLE price;
DROP DOMAIN cents;
