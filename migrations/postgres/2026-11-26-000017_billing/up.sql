-- Rows are there for as long as their calls run, so the sweep may look at all of them; keeping them in order cost every
-- call two more pages to write.
DROP INDEX reservations_expires_at_idx;
