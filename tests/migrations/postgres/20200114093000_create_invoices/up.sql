CREATE SCHEMA billing
  CREATE TABLE invoice (id bigserial PRIMARY KEY, member_id bigint NOT NULL, issued_on date NOT NULL DEFAULT current_date)
  CREATE TABLE line (invoice_id bigint NOT NULL REFERENCES invoice, position smallint NOT NULL, amount numeric(12, 2) NOT NULL, PRIMARY KEY (invoice_id, position))
  CREATE INDEX invoice_member_idx ON invoice (member_id)
  CREATE VIEW total AS SELECT invoice_id, sum(amount) AS amount FROM line GROUP BY invoice_id;

-- "public" cannot be named inside of CREATE SCHEMA by everybody; so it comes here
ALTER TABLE billing.invoice ADD FOREIGN KEY (member_id) REFERENCES public.members_member (id);
