DROP MATERIALIZED VIEW member_usage;
DROP VIEW active_member;
