CREATE VIEW active_member WITH (security_barrier = true) AS
  SELECT id, email, full_name
    FROM members_member
   WHERE is_active -- inactive; but not deleted
  WITH LOCAL CHECK OPTION;

CREATE MATERIALIZED VIEW member_usage AS
  SELECT m.id AS member_id, count(b.id) AS bookings, coalesce(sum(extract(epoch FROM upper(b.during) - lower(b.during))), 0) AS seconds
    FROM members_member m
    LEFT JOIN "Booking" b ON b."memberId" = m.id
   GROUP BY m.id
  WITH NO DATA;

CREATE UNIQUE INDEX member_usage_key ON member_usage (member_id);
REFRESH MATERIALIZED VIEW member_usage;
COMMENT ON MATERIALIZED VIEW member_usage IS E'Refreshed at night; by \'cron\'';
