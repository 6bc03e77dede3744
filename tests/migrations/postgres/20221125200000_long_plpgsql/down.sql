DROP PROCEDURE archive(bigint);
DROP FUNCTION shout(text);
DROP FUNCTION free_slots(integer, tstzrange, text[]);
