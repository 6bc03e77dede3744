;
; ;
-- nothing here;
;;
CREATE TABLE feature (name text PRIMARY KEY, enabled boolean NOT NULL DEFAULT false);;
/* nor here; */ ;
INSERT INTO feature VALUES ('calendar', true), ('invoices', false)
ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled WHERE feature.enabled IS DISTINCT FROM excluded.enabled
;
;
