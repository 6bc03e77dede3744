CREATE OR REPLACE FUNCTION free_slots(
    IN wanted_room integer,
    IN wanted tstzrange DEFAULT tstzrange(now(), now() + interval '1 day; '::text::varchar(5)::interval),
    VARIADIC kinds text[] = ARRAY['a;b', $$c$$]
) RETURNS TABLE (slot tstzrange, "minutes;" integer)
    LANGUAGE plpgsql
    STABLE PARALLEL RESTRICTED COST 50 ROWS 20
AS $function$
<<search>>
DECLARE
    b     "Booking"%ROWTYPE;
    name  room.name%TYPE;
    at    timestamptz := lower(wanted);
    n     integer = 0;
    sql   CONSTANT text := $sql$
        SELECT count(*) FROM "Booking" WHERE "roomId" = $1; -- %s
    $sql$;
BEGIN
    BEGIN
        SELECT r.name INTO STRICT name FROM room r WHERE r.id = wanted_room;
    EXCEPTION
        WHEN no_data_found OR too_many_rows THEN
            RAISE NOTICE 'no room %; or many', wanted_room USING HINT = 'it''s empty', DETAIL = $d$end;$d$;
            RETURN;
    END;
    <<bookings>>
    FOR b IN SELECT * FROM "Booking" WHERE "roomId" = wanted_room AND during && wanted ORDER BY during LOOP
        n := n + 1;
        CONTINUE bookings WHEN lower(b.during) <= at;
        slot := tstzrange(at, lower(b.during));
        "minutes;" := CASE WHEN isempty(slot) THEN 0 ELSE extract(epoch FROM upper(slot) - lower(slot))::integer / 60 END;
        RETURN NEXT;
        EXIT search WHEN n > 100;
        at := greatest(at, upper(b.during));
    END LOOP bookings;
    IF at < upper(wanted) THEN
        RETURN QUERY EXECUTE 'SELECT tstzrange($1, $2), 0;' USING at, upper(wanted);
        GET DIAGNOSTICS n = ROW_COUNT;
    ELSIF n = 0 THEN
        NULL;
    END IF;
END;
$function$;

CREATE FUNCTION shout(text) RETURNS text AS '
DECLARE
    loud text := upper($1) || ''!;'';
BEGIN
    RETURN E''it\''s '' || loud; /* a "body" in plain quotes */
END;
' LANGUAGE 'plpgsql';

CREATE PROCEDURE archive(INOUT moved bigint DEFAULT 0)
LANGUAGE plpgsql
AS $procedure$
BEGIN
    WITH old AS (DELETE FROM event WHERE at < '2019-06-01' RETURNING *)
    SELECT count(*) INTO moved FROM old;
END
$procedure$;

SELECT shout('quiet') AS "end;", (SELECT count(*) FROM free_slots(-1)) AS none;
CALL archive();
