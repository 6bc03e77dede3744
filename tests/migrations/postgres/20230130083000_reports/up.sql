CREATE UNLOGGED TABLE report_cache (key text, value jsonb) WITH (autovacuum_enabled = false);
CREATE OR REPLACE VIEW report AS
SELECT kind,
       date_trunc('month', at) AS "month",
       count(*) FILTER (WHERE payload ? 'id') AS with_id,
       percentile_disc(.5) WITHIN GROUP (ORDER BY at) AS median,
       row_number() OVER w AS "row",
       lag(count(*), 1, 0::bigint) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) AS before,
       string_agg(DISTINCT kind, '; ' ORDER BY kind) AS kinds,
       GROUPING(kind, date_trunc('month', at)) AS level
  FROM event TABLESAMPLE system (100) REPEATABLE (1)
 CROSS JOIN LATERAL (SELECT 1) AS one (x)
 GROUP BY GROUPING SETS ((kind, date_trunc('month', at)), (kind), ())
WINDOW w AS (PARTITION BY kind ORDER BY date_trunc('month', at));

CREATE VIEW quarter (first, "last;") AS VALUES (date '2023-01-01', date '2023-03-31'), ('2023-04-01', '2023-06-30');
TABLE quarter;
(SELECT 1 UNION ALL (SELECT 2 EXCEPT SELECT 3)) INTERSECT (VALUES (1), (2)) ORDER BY 1 LIMIT 1;
EXPLAIN (COSTS off) SELECT * FROM report;
