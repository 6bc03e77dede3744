CREATE TABLE day (date TEXT PRIMARY KEY, weekday INTEGER AS (CAST(strftime('%w', date) AS INTEGER)) STORED, iso TEXT) WITHOUT ROWID;
WITH RECURSIVE days (date) AS (
  VALUES ('2021-01-01')
  UNION ALL
  SELECT date(date, '+1 day') FROM days WHERE date < '2021-12-31'
)
INSERT INTO day (date) SELECT date FROM days;
WITH RECURSIVE
  mondays AS MATERIALIZED (SELECT date FROM day WHERE weekday = 1),
  numbered AS NOT MATERIALIZED (SELECT date, row_number() OVER (ORDER BY date ROWS UNBOUNDED PRECEDING) AS n FROM mondays)
UPDATE day SET iso = 'W;' || printf('%02d', (SELECT n FROM numbered WHERE numbered.date <= day.date ORDER BY numbered.date DESC LIMIT 1));
WITH gone(date) AS (SELECT date FROM day WHERE iso IS NULL) DELETE FROM day WHERE date IN gone RETURNING date;
