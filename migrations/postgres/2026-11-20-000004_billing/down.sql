DROP TABLE usage_events;
DROP TABLE reservations;
DROP TABLE quota_windows;
DROP TABLE billing_events;
DROP TABLE subscriptions;
