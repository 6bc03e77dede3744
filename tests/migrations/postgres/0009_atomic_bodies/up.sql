CREATE FUNCTION booking_label(b "Booking") RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT CASE
                   WHEN b.state = 'CONFIRMED' THEN 'ok;'
                   WHEN b.state = 'REQUESTED' THEN CASE WHEN lower(b.during) < now() THEN 'late' ELSE 'open' END
                   ELSE 'gone'
               END || ' ' || (SELECT name FROM room WHERE room.id = b."roomId");
    END;

CREATE OR REPLACE PROCEDURE cancel_bookings("of" bigint)
BEGIN ATOMIC
    UPDATE "Booking" SET state = 'CANCELLED; REFUNDED' WHERE "memberId" = "of" AND lower(during) > now();
    INSERT INTO members_site (slug, owner_id)
        SELECT 'cancelled-' || id AS "end", id FROM members_member AS "case" WHERE false AND id = "of";
END;

CREATE FUNCTION one() RETURNS integer RETURN 1;

CREATE FUNCTION span_of(room integer, OUT begin timestamptz, OUT "end" timestamptz)
    BEGIN ATOMIC
        SELECT min(lower(during)) AS begin, max(upper(during)) AS end FROM "Booking" WHERE "roomId" = room;
    END;

CALL cancel_bookings(0);
