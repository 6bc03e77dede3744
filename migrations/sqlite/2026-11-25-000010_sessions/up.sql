-- The keys that access tokens are signed with.
CREATE TABLE signing_keys (
    -- RFC 7638 thumbprint of the public key.
    kid TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    -- The private key, encrypted: a nonce, the text, a tag.
    private_sealed BLOB NOT NULL,
    -- Which version of the key that derives from SECRET_KEY it is encrypted under.
    wrapping_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    active_from INTEGER NOT NULL,
    retired_at INTEGER,
    revoked_at INTEGER,
    CONSTRAINT signing_keys_algorithm_check CHECK (algorithm IN ('EdDSA', 'ES256'))
) STRICT;
