CREATE DOMAIN cents AS bigint CHECK (VALUE >= 0);

CREATE TABLE price (
	room_id    integer NOT NULL REFERENCES room,
	valid_from date NOT NULL,
	per_hour   cents NOT NULL,
	factor     numeric(9, 8) NOT NULL DEFAULT 1e-5,
	PRIMARY KEY (room_id, valid_from)
);

-- Dollar tags in dollar tags, and every quote there is.
CREATE FUNCTION price_at(room integer, at date) RETURNS cents
LANGUAGE plpgsql STABLE
AS $body$
DECLARE
	query text := $q$ SELECT per_hour FROM price WHERE room_id = $1 AND valid_from <= $2; $q$;
	found cents;
	quoted text := 'it''s; "so"';
BEGIN
	IF room IS NULL THEN
		RAISE EXCEPTION USING MESSAGE = format($$no room; %s$$, quoted), ERRCODE = 'P0002';
	END IF;
	EXECUTE rtrim(rtrim(query), ';') || $order$ ORDER BY valid_from DESC LIMIT 1 $order$ INTO found USING room, at;
	RETURN found;
END
$body$;

CREATE FUNCTION rounded(amount numeric, digits smallint = 2) RETURNS numeric
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	AS 'SELECT round(amount, digits); -- it''s the commercial way';

COMMENT ON FUNCTION price_at(integer, date) IS $c$What an hour costs; in cents.$c$;
