CREATE VIEW task_rank AS
SELECT id, title,
       rank() OVER w AS "rank",
       sum(priority) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE NO OTHERS) AS running,
       group_concat(title, '; ') FILTER (WHERE title NOT LIKE '%;%' ESCAPE '\') OVER () AS first,
       iif(priority>0, 'high;', 'low') AS level, title IS NOT NULL AS "null"
  FROM task
WINDOW w AS (PARTITION BY list_id ORDER BY priority DESC, id);
VALUES (1, ';'), (2, NULL);
EXPLAIN QUERY PLAN SELECT * FROM task_rank;
EXPLAIN SELECT 1;
