DROP VIEW report, quarter;
DROP TABLE report_cache;
