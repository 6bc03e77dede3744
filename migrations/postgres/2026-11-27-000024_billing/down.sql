ALTER TABLE consumptions DROP COLUMN plan;
DROP INDEX subscriptions_created_at_idx;
DROP TABLE subscription_changes;
