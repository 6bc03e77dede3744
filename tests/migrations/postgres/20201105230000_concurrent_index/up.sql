CREATE INDEX CONCURRENTLY IF NOT EXISTS booking_created_idx ON "Booking" ("createdAt" DESC);
CREATE UNIQUE INDEX CONCURRENTLY booking_open_key ON "Booking" ("roomId", lower(during)) WHERE state IN ('REQUESTED', 'CONFIRMED');
