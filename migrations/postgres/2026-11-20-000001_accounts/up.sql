CREATE TABLE users (
    id uuid NOT NULL,
    email text NOT NULL,
    -- The address case-folded as a whole: the form under which it is unique.
    email_folded text NOT NULL,
    email_verified boolean NOT NULL,
    name text,
    locale text NOT NULL,
    role text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_folded_key UNIQUE (email_folded)
);

-- Kept apart from the user, so that no answer can carry a hash by accident.
CREATE TABLE password_credentials (
    user_id uuid NOT NULL,
    hash text NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT password_credentials_pkey PRIMARY KEY (user_id),
    CONSTRAINT password_credentials_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
