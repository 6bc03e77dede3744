ALTER TABLE usage_events DROP COLUMN upstream_model;
ALTER TABLE usage_events DROP COLUMN provider;
