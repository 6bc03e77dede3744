DROP TABLE opening;
DROP TYPE timerange;
DROP FUNCTION minutes_between;
