-- DropTable
DROP TABLE "Booking";

-- DropEnum
DROP TYPE "BookingState";
