DROP TABLE usage_days;
ALTER TABLE usage_events DROP COLUMN plan;
