-- Failed logins, counted by account and by address. The key is a keyed digest: nobody's address is in here.
CREATE TABLE login_failures (
    key bytea NOT NULL,
    failures integer NOT NULL,
    -- Since when the next forgiveness is waited for.
    forgiven_at timestamptz,
    last_failure_at timestamptz NOT NULL,
    blocked_until timestamptz,
    -- When the owner was told of this lockout.
    told_at timestamptz,
    CONSTRAINT login_failures_pkey PRIMARY KEY (key)
);
CREATE INDEX login_failures_last_failure_at_idx ON login_failures (last_failure_at);
