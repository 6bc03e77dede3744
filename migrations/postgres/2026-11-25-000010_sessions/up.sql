-- The keys that access tokens are signed with.
CREATE TABLE signing_keys (
    -- RFC 7638 thumbprint of the public key.
    kid text NOT NULL,
    algorithm text NOT NULL,
    public_jwk text NOT NULL,
    -- The private key, encrypted: a nonce, the text, a tag.
    private_sealed bytea NOT NULL,
    -- Which version of the key that derives from SECRET_KEY it is encrypted under.
    wrapping_version integer NOT NULL,
    created_at timestamptz NOT NULL,
    active_from timestamptz NOT NULL,
    retired_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_keys_algorithm_check CHECK (algorithm IN ('EdDSA', 'ES256'))
);
