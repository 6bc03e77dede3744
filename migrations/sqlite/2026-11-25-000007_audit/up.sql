-- What was done, by whom and to whom. Written with the act, never changed: the triggers below refuse it.
-- Neither actor nor subject is a reference: a row outlives the account that it tells of.
CREATE TABLE audit_log (
    id BLOB NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    act TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id BLOB,
    subject_id BLOB,
    session_id BLOB,
    address TEXT,
    user_agent TEXT,
    request_id BLOB,
    -- What else is worth knowing, as a JSON object; no secrets, no addresses of people.
    details TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_log_subject_id_idx ON audit_log (subject_id, id);
CREATE INDEX audit_log_actor_id_idx ON audit_log (actor_id, id);
CREATE INDEX audit_log_act_idx ON audit_log (act, id);

-- The chain over those rows, written by one sealer after them, so that acts do not queue on its head.
CREATE TABLE audit_seals (
    seq INTEGER NOT NULL PRIMARY KEY,
    audit_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    CONSTRAINT audit_seals_audit_id_key UNIQUE (audit_id)
) STRICT;

CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_seals_are_not_updated BEFORE UPDATE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_seals_are_not_deleted BEFORE DELETE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
