DROP FUNCTION add_line(bigint, numeric[]);
DROP FUNCTION search_members(text, integer)
