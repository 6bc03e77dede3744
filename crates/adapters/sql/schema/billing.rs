//! The tables of billing.

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
        next_quantity -> Nullable<BigInt>,
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

    overages (owner_kind, owner_id, counter, window_start) {
        owner_kind -> Text,
        owner_id -> SqlId,
        counter -> Text,
        window_start -> SqlTime,
        entitlement -> Text,
        plan -> Text,
        plan_version -> Integer,
        paid_from -> BigInt,
        most -> BigInt,
        reported -> BigInt,
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
