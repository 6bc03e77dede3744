//! API keys: what the API is told of them, and what it shows.

pub mod change_api_key;
pub mod create_api_key;
pub mod delete_api_key;
pub mod delete_api_key_of_user;
pub mod get_api_key;
pub mod list_api_keys;
pub mod list_api_keys_of_user;
pub mod rotate_api_key;

use anteroom_domain::Timestamp;
use anteroom_domain::access::{API_KEY_PREFIX, ApiKey, BudgetWindow, Scope};
use anteroom_services::Page;
use anteroom_services::access::{CreatedKey, KeyState, ListKeysError, NewBudget};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::query::List;

/// How long a budget counts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetWindowName {
    /// A day in UTC.
    Day,
    /// A calendar month in UTC.
    Month,
    /// The key's life.
    Total,
}

impl From<BudgetWindowName> for BudgetWindow {
    fn from(name: BudgetWindowName) -> Self {
        match name {
            BudgetWindowName::Day => Self::Day,
            BudgetWindowName::Month => Self::Month,
            BudgetWindowName::Total => Self::Total,
        }
    }
}

/// What may be spent with a key.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRequest {
    /// The most, in US dollars: more than 0, at most 1,000,000.
    #[schema(example = 5.0)]
    limit_usd: f64,
    /// In which time.
    window: BudgetWindowName,
}

impl From<BudgetRequest> for NewBudget {
    fn from(budget: BudgetRequest) -> Self {
        Self {
            limit_usd: budget.limit_usd,
            window: budget.window.into(),
        }
    }
}

/// What may be spent with a key, and what is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = KeyBudget)]
pub struct BudgetResponse {
    /// The most, in US dollars.
    #[schema(example = 5.0)]
    limit_usd: f64,
    /// `day` or `month` (in UTC), or `total`.
    #[schema(example = "month")]
    window: &'static str,
    /// What is spent in the window that runs; of calls under way, what they may cost at most.
    used_usd: f64,
    /// When the next window begins; `null` for `total`.
    resets_at: Option<Timestamp>,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyResponse {
    /// UUIDv7; stays the same when the key is rotated.
    id: uuid::Uuid,
    /// For the list.
    #[schema(example = "nightly report")]
    name: String,
    /// How the newest secret begins and ends.
    #[schema(example = "ar_…x7Qd")]
    hint: String,
    /// What it may be used for: `models`, `chat`, `embeddings`, `conversations`, `usage:read`, `account:read`, `entitlements`.
    scopes: Vec<&'static str>,
    /// The models it may be used with, of those that the plan has; `null` for all of them.
    models: Option<Vec<String>>,
    /// What may be spent with it; `null` for no limit of its own.
    budget: Option<BudgetResponse>,
    /// How often it may be used in a minute; `null` for no limit of its own.
    requests_per_minute: Option<u32>,
    /// When it was made.
    created_at: Timestamp,
    /// When it ends by itself; `null` for never.
    expires_at: Option<Timestamp>,
    /// When it was last used, to about two minutes; `null` for never.
    last_used_at: Option<Timestamp>,
    /// When its secret was last exchanged.
    rotated_at: Option<Timestamp>,
    /// Until when the secret before works, or did.
    previous_until: Option<Timestamp>,
}

/// An API key with its secret, which is told this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CreatedApiKey)]
pub struct CreatedApiKeyResponse {
    /// The key itself: `ar_`, 43 characters of secret and six of a checksum (`ar_[0-9A-Za-z]{49}`). Keep it: it is not
    /// shown again.
    #[schema(example = "ar_", pattern = "^ar_[0-9A-Za-z]{49}$")]
    key: String,
    /// UUIDv7; stays the same when the key is rotated.
    id: uuid::Uuid,
    /// For the list.
    #[schema(example = "nightly report")]
    name: String,
    /// How the newest secret begins and ends.
    #[schema(example = "ar_…x7Qd")]
    hint: String,
    /// What it may be used for: `models`, `chat`, `embeddings`, `conversations`, `usage:read`, `account:read`, `entitlements`.
    scopes: Vec<&'static str>,
    /// The models it may be used with, of those that the plan has; `null` for all of them.
    models: Option<Vec<String>>,
    /// What may be spent with it; `null` for no limit of its own.
    budget: Option<BudgetResponse>,
    /// How often it may be used in a minute; `null` for no limit of its own.
    requests_per_minute: Option<u32>,
    /// When it was made.
    created_at: Timestamp,
    /// When it ends by itself; `null` for never.
    expires_at: Option<Timestamp>,
    /// When it was last used, to about two minutes; `null` for never.
    last_used_at: Option<Timestamp>,
    /// When its secret was last exchanged.
    rotated_at: Option<Timestamp>,
    /// Until when the secret before works, or did.
    previous_until: Option<Timestamp>,
}

impl From<KeyState> for ApiKeyResponse {
    fn from(state: KeyState) -> Self {
        let budget = state.key.budget.map(|budget| BudgetResponse {
            limit_usd: budget.limit.usd(),
            window: budget.window.as_str(),
            used_usd: state.spent.usd(),
            resets_at: state.resets_at,
        });
        Self::of(state.key, budget)
    }
}

impl ApiKeyResponse {
    fn of(key: ApiKey, budget: Option<BudgetResponse>) -> Self {
        Self {
            id: key.id.0,
            name: key.name,
            hint: format!("{API_KEY_PREFIX}…{}", key.hint),
            scopes: key.scopes.into_iter().map(Scope::as_str).collect(),
            models: key.models,
            budget,
            requests_per_minute: key.requests_per_minute,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            rotated_at: key.rotated.map(|(at, _)| at),
            previous_until: key.rotated.map(|(_, until)| until),
        }
    }
}

impl From<CreatedKey> for CreatedApiKeyResponse {
    fn from(made: CreatedKey) -> Self {
        let shown = ApiKeyResponse::from(made.state);
        Self {
            key: made.text.expose_secret().to_owned(),
            id: shown.id,
            name: shown.name,
            hint: shown.hint,
            scopes: shown.scopes,
            models: shown.models,
            budget: shown.budget,
            requests_per_minute: shown.requests_per_minute,
            created_at: shown.created_at,
            expires_at: shown.expires_at,
            last_used_at: shown.last_used_at,
            rotated_at: shown.rotated_at,
            previous_until: shown.previous_until,
        }
    }
}

impl From<ListKeysError> for Problem {
    fn from(error: ListKeysError) -> Self {
        match error {
            ListKeysError::NoSuchUser => Self::not_found("user"),
            ListKeysError::NotFound => Self::not_found("API key"),
            ListKeysError::Store(e) => e.into(),
        }
    }
}

fn page(page: Page<KeyState>) -> List<ApiKeyResponse> {
    let next_cursor = page.items.last().filter(|_| page.more).map(|s| s.key.id.to_string());
    List {
        data: page.items.into_iter().map(Into::into).collect(),
        next_cursor,
    }
}
