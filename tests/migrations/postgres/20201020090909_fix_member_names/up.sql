-- Names came with blanks round them; and some twice.
WITH trimmed AS (
    UPDATE members_member SET full_name = btrim(full_name) WHERE full_name <> btrim(full_name) RETURNING id
)
INSERT INTO event (kind, at, payload)
SELECT 'member.trimmed', now(), jsonb_build_object('id', id, 'why', 'blanks; round them') FROM trimmed
RETURNING id, kind;

DELETE FROM members_site AS s
 USING members_member AS m
 WHERE m.id = s.owner_id AND NOT m.is_active
RETURNING s.*, 'gone;' AS "end";

UPDATE members_member SET invoice_email = CASE WHEN email ~ ';' THEN NULL ELSE lower(email) END WHERE invoice_email IS NULL;
