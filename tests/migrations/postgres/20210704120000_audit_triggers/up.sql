CREATE TABLE audit_row (
    id bigint GENERATED ALWAYS AS IDENTITY,
    relation regclass NOT NULL,
    action "char" NOT NULL,
    was jsonb,
    becomes jsonb
);

CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS
$audit$
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN
            INSERT INTO public.audit_row (relation, action, becomes) VALUES (TG_RELID, 'I', to_jsonb(NEW));
        WHEN 'UPDATE' THEN
            INSERT INTO public.audit_row (relation, action, was, becomes) VALUES (TG_RELID, 'U', to_jsonb(OLD), to_jsonb(NEW));
        ELSE
            INSERT INTO public.audit_row (relation, action, was) VALUES (TG_RELID, 'D', to_jsonb(OLD));
    END CASE;
    RETURN NULL;
END;
$audit$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OF name, note OR DELETE ON room
    FOR EACH ROW EXECUTE FUNCTION audit('a; b');

CREATE FUNCTION audit_many() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_row (relation, action, was) SELECT TG_RELID, 'S', to_jsonb(gone) FROM gone;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_deletes AFTER DELETE ON price REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION audit_many();
CREATE CONSTRAINT TRIGGER audit_late AFTER INSERT ON price DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION audit();
ALTER TABLE price DISABLE TRIGGER audit_late;
