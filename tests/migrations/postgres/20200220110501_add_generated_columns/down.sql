DROP INDEX "billing"."index_billing_invoice_on_number";
ALTER TABLE "billing"."invoice" DROP COLUMN "number";
ALTER TABLE "billing"."line" DROP COLUMN "gross";
ALTER TABLE "billing"."line" DROP COLUMN "vat_rate"
