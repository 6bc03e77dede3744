//! The tables, as the migrations of both databases make them.
#![cfg_attr(
    not(test),
    expect(clippy::wildcard_imports, reason = "how a table names its columns' types")
)]

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

    subscriptions (provider, provider_id) {
        provider -> Text,
        provider_id -> Text,
        owner_kind -> Text,
        owner_id -> SqlId,
        plan -> Text,
        plan_version -> Integer,
        status -> Text,
        current_period_end -> Nullable<SqlTime>,
        cancel_at_period_end -> Bool,
        trial_end -> Nullable<SqlTime>,
        past_due_since -> Nullable<SqlTime>,
        as_of -> SqlTime,
        created_at -> SqlTime,
        revision -> BigInt,
        customer -> Nullable<Text>,
        price_amount -> Nullable<BigInt>,
        price_currency -> Nullable<Text>,
        price_interval -> Nullable<Text>,
        quantity -> BigInt,
        known_status -> Nullable<Text>,
        paid_until -> Nullable<SqlTime>,
        cancel_at -> Nullable<SqlTime>,
        collection_paused -> Bool,
        next_plan -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    billing_customers (provider, customer) {
        provider -> Text,
        customer -> Text,
        owner_kind -> Text,
        owner_id -> SqlId,
        created_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::SqlTime;

    plan_versions (plan, version) {
        plan -> Text,
        version -> Integer,
        terms -> Text,
        published_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    overrides (id) {
        id -> SqlId,
        owner_kind -> Text,
        owner_id -> SqlId,
        granted -> Text,
        reason -> Text,
        granted_by -> Nullable<SqlId>,
        created_at -> SqlTime,
        expires_at -> Nullable<SqlTime>,
        revoked_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    consumptions (owner_kind, owner_id, id) {
        owner_kind -> Text,
        owner_id -> SqlId,
        id -> Text,
        entitlement -> Text,
        amount -> BigInt,
        created_at -> SqlTime,
        plan -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    trials (kind, value) {
        kind -> Text,
        value -> Text,
        owner_kind -> Text,
        owner_id -> SqlId,
        used_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::SqlTime;

    billing_events (provider, event_id) {
        provider -> Text,
        event_id -> Text,
        kind -> Text,
        payload -> Text,
        received_at -> SqlTime,
        state -> Text,
        created_at -> Nullable<SqlTime>,
        subscription -> Nullable<Text>,
        customer -> Nullable<Text>,
        purchase -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    credit_accounts (owner_kind, owner_id) {
        owner_kind -> Text,
        owner_id -> SqlId,
        owed -> BigInt,
        lines -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    credit_grants (id) {
        id -> SqlId,
        owner_kind -> Text,
        owner_id -> SqlId,
        source -> Text,
        reference -> Text,
        reason -> Nullable<Text>,
        amount -> BigInt,
        spent -> BigInt,
        refunded -> BigInt,
        priority -> Integer,
        created_at -> SqlTime,
        expires_at -> Nullable<SqlTime>,
        closed_at -> Nullable<SqlTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    credit_entries (owner_kind, owner_id, seq) {
        owner_kind -> Text,
        owner_id -> SqlId,
        seq -> BigInt,
        kind -> Text,
        amount -> BigInt,
        balance -> BigInt,
        grant_id -> Nullable<SqlId>,
        reference -> Text,
        at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    billing_notices (owner_kind, owner_id, kind, reference) {
        owner_kind -> Text,
        owner_id -> SqlId,
        kind -> Text,
        reference -> Text,
        told_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    quota_windows (owner_kind, owner_id, meter, window_start) {
        owner_kind -> Text,
        owner_id -> SqlId,
        meter -> Text,
        window_start -> SqlTime,
        used -> BigInt,
        reserved -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    reservations (id, meter) {
        id -> SqlId,
        meter -> Text,
        request_id -> SqlId,
        owner_kind -> Text,
        owner_id -> SqlId,
        session_id -> Nullable<SqlId>,
        api_key_id -> Nullable<SqlId>,
        model -> Text,
        prompt_tokens -> BigInt,
        completion_tokens -> BigInt,
        cached_tokens -> BigInt,
        reasoning_tokens -> BigInt,
        hold_owner_kind -> Text,
        hold_owner_id -> SqlId,
        window_start -> SqlTime,
        amount -> BigInt,
        quota_limit -> Nullable<BigInt>,
        created_at -> SqlTime,
        expires_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    usage_events (request_id) {
        request_id -> SqlId,
        owner_kind -> Text,
        owner_id -> SqlId,
        session_id -> Nullable<SqlId>,
        api_key_id -> Nullable<SqlId>,
        model -> Text,
        prompt_tokens -> BigInt,
        completion_tokens -> BigInt,
        cached_tokens -> BigInt,
        reasoning_tokens -> BigInt,
        exact -> Bool,
        cost -> Nullable<BigInt>,
        first_token_ms -> Nullable<BigInt>,
        total_ms -> BigInt,
        outcome -> Text,
        created_at -> SqlTime,
        provider -> Nullable<Text>,
        upstream_model -> Nullable<Text>,
        plan -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    usage_days (owner_kind, owner_id, day, model, plan, api_key_id) {
        owner_kind -> Text,
        owner_id -> SqlId,
        day -> SqlTime,
        model -> Text,
        plan -> Text,
        api_key_id -> SqlId,
        calls -> BigInt,
        failed_calls -> BigInt,
        prompt_tokens -> BigInt,
        cached_tokens -> BigInt,
        completion_tokens -> BigInt,
        reasoning_tokens -> BigInt,
        cost -> BigInt,
        unpriced_calls -> BigInt,
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

diesel::table! {
    use diesel::sql_types::*;
    use crate::types::{SqlId, SqlTime};

    subscription_changes (provider, provider_id, revision) {
        provider -> Text,
        provider_id -> Text,
        revision -> BigInt,
        owner_kind -> Text,
        owner_id -> SqlId,
        at -> SqlTime,
        status -> Text,
        plan -> Text,
        plan_version -> Integer,
        monthly -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        from_status -> Nullable<Text>,
        from_plan -> Nullable<Text>,
        from_plan_version -> Nullable<Integer>,
        from_monthly -> Nullable<BigInt>,
        from_currency -> Nullable<Text>,
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
