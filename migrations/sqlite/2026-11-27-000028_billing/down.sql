ALTER TABLE subscriptions DROP COLUMN next_quantity;
