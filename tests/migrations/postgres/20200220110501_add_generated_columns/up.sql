ALTER TABLE "billing"."line" ADD "vat_rate" decimal(5,4) DEFAULT 0.077 NOT NULL;
ALTER TABLE "billing"."line" ADD "gross" decimal(12,2) GENERATED ALWAYS AS (round(amount * (1 + vat_rate), 2)) STORED;
ALTER TABLE "billing"."invoice" ADD "number" character varying GENERATED ALWAYS AS ('R;' || lpad(id::text, 6, '0')) STORED;
CREATE UNIQUE INDEX "index_billing_invoice_on_number" ON "billing"."invoice" ("number")
