ALTER TABLE billing.invoice ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing.invoice FORCE ROW LEVEL SECURITY;

CREATE POLICY own_invoices ON billing.invoice
    AS PERMISSIVE
    FOR SELECT
    TO PUBLIC
    USING (member_id = nullif(current_setting('app.member_id', true), '')::bigint);

CREATE POLICY "no; deletes" ON billing.invoice AS RESTRICTIVE FOR DELETE USING (false);

CREATE POLICY insert_own ON billing.invoice FOR INSERT
    WITH CHECK (EXISTS (SELECT FROM public.members_member m WHERE m.id = invoice.member_id AND m.is_active));

GRANT USAGE ON SCHEMA billing TO PUBLIC;
GRANT SELECT (id, member_id), INSERT (member_id) ON billing.invoice TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA billing TO PUBLIC;
REVOKE ALL ON FUNCTION public.rounded(numeric, smallint) FROM PUBLIC;
