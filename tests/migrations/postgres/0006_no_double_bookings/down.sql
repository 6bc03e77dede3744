ALTER TABLE "Booking" DROP CONSTRAINT ends_after_it_begins;
ALTER TABLE "Booking" DROP CONSTRAINT no_double_booking
