-- Which target answered a call, or was asked last; the model that was asked for may have several.
ALTER TABLE usage_events ADD COLUMN provider TEXT;
ALTER TABLE usage_events ADD COLUMN upstream_model TEXT;
