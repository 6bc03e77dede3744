DROP FUNCTION span_of(integer);
DROP FUNCTION one;
DROP PROCEDURE cancel_bookings;
DROP FUNCTION booking_label("Booking");
