CREATE INDEX reservations_expires_at_idx ON reservations (expires_at);
