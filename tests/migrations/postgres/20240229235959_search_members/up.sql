CREATE FUNCTION search_members(q text, "limit" integer DEFAULT 20) RETURNS SETOF members_member
LANGUAGE sql STABLE LEAKPROOF
BEGIN ATOMIC
  SELECT m.*
    FROM members_member m
    LEFT JOIN LATERAL (
      SELECT CASE WHEN m.full_name ILIKE q || '%' THEN 0
                  WHEN m.email LIKE '%;' || q THEN CASE m.is_active WHEN true THEN 1 ELSE 2 END
             END AS "end"
    ) AS rank ON true
   WHERE rank."end" IS NOT NULL
   ORDER BY rank."end", CASE WHEN m.is_active THEN 0 ELSE 1 END
   LIMIT "limit";
END;
ALTER FUNCTION search_members ROWS 20;
CREATE FUNCTION add_line(inv bigint, amounts numeric[]) RETURNS bigint
RETURN (SELECT count(*) FROM unnest(amounts[1:3]) AS a(x) WHERE x <> ALL ('{0,0.0}'::numeric[]));
