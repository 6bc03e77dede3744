DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name IN ('room', 'price')
    LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN created_by text DEFAULT current_user;', t.table_name);
    END LOOP;
END
$$;

do language plpgsql $do$
begin
    if exists (select 1 from pg_type where typname = 'weekday') then
        raise notice 'there already; nothing to do';
    else
        create type weekday as enum ('mo', 'tu', 'we', 'th', 'fr', 'sa', 'su');
    end if;
exception
    when duplicate_object then null;
end;
$do$;

DO 'BEGIN PERFORM 1; END';
