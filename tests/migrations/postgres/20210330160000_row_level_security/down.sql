GRANT EXECUTE ON FUNCTION public.rounded(numeric, smallint) TO PUBLIC;
REVOKE SELECT ON ALL TABLES IN SCHEMA billing FROM PUBLIC;
REVOKE ALL (id, member_id) ON billing.invoice FROM PUBLIC;
REVOKE USAGE ON SCHEMA billing FROM PUBLIC;
DROP POLICY insert_own ON billing.invoice;
DROP POLICY "no; deletes" ON billing.invoice;
DROP POLICY own_invoices ON billing.invoice;
ALTER TABLE billing.invoice NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
