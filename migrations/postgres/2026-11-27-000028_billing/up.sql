-- How many seats a subscription is for from its next period on, where a change waits for that.
ALTER TABLE subscriptions ADD COLUMN next_quantity bigint;
