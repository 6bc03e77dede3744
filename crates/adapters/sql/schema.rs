//! The tables, as the migrations of both databases make them.
#![cfg_attr(
    not(test),
    expect(clippy::wildcard_imports, reason = "how a table names its columns' types")
)]

#[path = "schema/billing.rs"]
mod billing;

pub(crate) use billing::*;

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    users (id) {
        id -> SqlId,
        email -> Text,
        email_folded -> Text,
        email_verified -> Bool,
        name -> Nullable<Text>,
        locale -> Text,
        role -> Text,
        created_at -> SqlTime,
        updated_at -> SqlTime,
        disabled_at -> Nullable<SqlTime>,
        delete_after -> Nullable<SqlTime>,
        name_folded -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    password_credentials (user_id) {
        user_id -> SqlId,
        hash -> Text,
        updated_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    sessions (id) {
        id -> SqlId,
        user_id -> SqlId,
        transport -> Text,
        cookie_digest -> Nullable<Binary>,
        created_at -> SqlTime,
        expires_at -> SqlTime,
        last_seen_at -> SqlTime,
        address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        ended_at -> Nullable<SqlTime>,
        end_reason -> Nullable<Text>,
        authenticated_at -> SqlTime,
        country -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    refresh_tokens (id) {
        id -> SqlId,
        session_id -> SqlId,
        digest -> Binary,
        created_at -> SqlTime,
        used_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::SqlTime;

    signing_keys (kid) {
        kid -> Text,
        algorithm -> Text,
        public_jwk -> Text,
        private_sealed -> Binary,
        wrapping_version -> Integer,
        created_at -> SqlTime,
        active_from -> SqlTime,
        retired_at -> Nullable<SqlTime>,
        revoked_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    conversations (id) {
        id -> SqlId,
        user_id -> SqlId,
        title -> Nullable<Text>,
        model -> Nullable<Text>,
        instructions -> Nullable<Text>,
        created_at -> SqlTime,
        updated_at -> SqlTime,
        busy_until -> Nullable<SqlTime>,
        busy_by -> Nullable<SqlId>,
        assistant -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    messages (id) {
        id -> SqlId,
        conversation_id -> SqlId,
        role -> Text,
        content -> Text,
        status -> Text,
        model -> Nullable<Text>,
        prompt_tokens -> Nullable<BigInt>,
        completion_tokens -> Nullable<BigInt>,
        cached_tokens -> Nullable<BigInt>,
        reasoning_tokens -> Nullable<BigInt>,
        created_at -> SqlTime,
        filtered -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    outbox (id) {
        id -> SqlId,
        topic -> Text,
        payload -> Text,
        attempts -> Integer,
        due_at -> SqlTime,
        created_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    idempotency_keys (user_id, key) {
        user_id -> SqlId,
        key -> Text,
        fingerprint -> Binary,
        created_at -> SqlTime,
        running_until -> SqlTime,
        status -> Nullable<Integer>,
        body -> Nullable<Text>,
        held_by -> Nullable<SqlId>,
        made_id -> Nullable<SqlId>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::SqlTime;

    login_failures (key) {
        key -> Binary,
        failures -> Integer,
        forgiven_at -> Nullable<SqlTime>,
        last_failure_at -> SqlTime,
        blocked_until -> Nullable<SqlTime>,
        told_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    deployment (name) {
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    one_time_tokens (id) {
        id -> SqlId,
        user_id -> SqlId,
        purpose -> Text,
        digest -> Binary,
        email -> Nullable<Text>,
        email_folded -> Nullable<Text>,
        session_id -> Nullable<SqlId>,
        created_at -> SqlTime,
        expires_at -> SqlTime,
        used_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    known_devices (user_id, device, country) {
        user_id -> SqlId,
        device -> Text,
        country -> Text,
        first_seen_at -> SqlTime,
        last_seen_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    broadcasts (id) {
        id -> SqlId,
        message -> Text,
        created_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    audit_log (id) {
        id -> SqlId,
        at -> SqlTime,
        act -> Text,
        outcome -> Text,
        actor_kind -> Text,
        actor_id -> Nullable<SqlId>,
        subject_id -> Nullable<SqlId>,
        session_id -> Nullable<SqlId>,
        address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        request_id -> Nullable<SqlId>,
        details -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::SqlId;

    audit_seals (seq) {
        seq -> BigInt,
        audit_id -> SqlId,
        digest -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    api_keys (id) {
        id -> SqlId,
        user_id -> SqlId,
        name -> Text,
        hint -> Text,
        scopes -> Text,
        models -> Nullable<Text>,
        budget_nano_usd -> Nullable<BigInt>,
        budget_window -> Nullable<Text>,
        requests_per_minute -> Nullable<Integer>,
        created_at -> SqlTime,
        expires_at -> Nullable<SqlTime>,
        last_used_at -> Nullable<SqlTime>,
        rotated_at -> Nullable<SqlTime>,
        overlap_until -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    api_key_secrets (key_id, digest) {
        key_id -> SqlId,
        digest -> Binary,
        ends_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    model_aliases (name) {
        name -> Text,
        version -> SqlId,
        enabled -> Bool,
        definition -> Text,
        created_at -> SqlTime,
        updated_at -> SqlTime,
    }
}

diesel::joinable!(password_credentials -> users (user_id));
diesel::joinable!(api_keys -> users (user_id));
diesel::joinable!(api_key_secrets -> api_keys (key_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(audit_seals -> audit_log (audit_id));
diesel::joinable!(messages -> conversations (conversation_id));
diesel::allow_tables_to_appear_in_same_query!(users, password_credentials, sessions);
diesel::allow_tables_to_appear_in_same_query!(conversations, messages);
diesel::allow_tables_to_appear_in_same_query!(users, api_keys, api_key_secrets);
diesel::allow_tables_to_appear_in_same_query!(audit_log, audit_seals);
