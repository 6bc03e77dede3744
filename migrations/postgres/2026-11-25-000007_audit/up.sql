-- What was done, by whom and to whom. Written with the act, never changed: the triggers below refuse it.
-- Neither actor nor subject is a reference: a row outlives the account that it tells of.
CREATE TABLE audit_log (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    act text NOT NULL,
    outcome text NOT NULL,
    actor_kind text NOT NULL,
    actor_id uuid,
    subject_id uuid,
    session_id uuid,
    address text,
    user_agent text,
    request_id uuid,
    -- What else is worth knowing, as a JSON object; no secrets, no addresses of people.
    details text NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_log_subject_id_idx ON audit_log (subject_id, id);
CREATE INDEX audit_log_actor_id_idx ON audit_log (actor_id, id);
CREATE INDEX audit_log_act_idx ON audit_log (act, id);

-- The chain over those rows, written by one sealer after them, so that acts do not queue on its head.
CREATE TABLE audit_seals (
    seq bigint NOT NULL,
    audit_id uuid NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT audit_seals_pkey PRIMARY KEY (seq),
    CONSTRAINT audit_seals_audit_id_key UNIQUE (audit_id)
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_seals_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
