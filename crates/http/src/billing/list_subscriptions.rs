//! `GET /v1/admin/subscriptions`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::billing::{Owner, OwnerKind, Standing};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::billing::SubscriptionFilter;
use anteroom_services::billing::AdminSubscription;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SubscriptionDetails;
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// Which subscriptions are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubscriptionsQuery {
    /// Those with this status, in the payment provider's words.
    #[param(example = "past_due")]
    status: Option<String>,
    /// Those to this plan.
    #[param(example = "pro")]
    plan: Option<String>,
    /// Those of this user, also of one whose account is erased.
    user: Option<Uuid>,
    /// How many things at most: 1 to 100, 20 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A subscription as the payment provider has it, and what it opens.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AdminSubscription)]
pub struct AdminSubscriptionResponse {
    /// The payment provider.
    #[schema(example = "stripe")]
    pub provider: String,
    /// The subscription's identifier there.
    #[schema(example = "sub_1")]
    pub provider_id: String,
    /// Its owner's identifier there; unknown of old ones.
    #[schema(example = "cus_1")]
    pub customer: Option<String>,
    /// Whose it is; `null` of what is no account's.
    pub account_id: Option<Uuid>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When the provider was asked last.
    pub as_of: Timestamp,
    /// The provider's word.
    #[schema(example = "active")]
    pub status: String,
    /// Whether it opens its plan now.
    pub active: bool,
    /// Why.
    #[schema(example = "active")]
    pub reason: &'static str,
    /// When this ends, or was due to, if nothing happens.
    pub until: Option<Timestamp>,
    /// Until when it is paid.
    pub paid_until: Option<Timestamp>,
    /// Whether the operator stopped collecting payment at the provider.
    pub collection_paused: bool,
    /// What it counts for in a month, in the currency's smallest unit: 0 if it pays nothing now, `null` if it pays and its
    /// price is not one number.
    #[schema(example = 1900)]
    pub monthly: Option<i64>,
    /// Its terms.
    pub details: SubscriptionDetails,
}

/// The account's identifier, of what is an account's.
pub(super) fn account(owner: Owner) -> Option<Uuid> {
    (owner.kind == OwnerKind::Account).then_some(owner.id)
}

impl From<&AdminSubscription> for AdminSubscriptionResponse {
    fn from(listed: &AdminSubscription) -> Self {
        let (access, subscription) = (&listed.access, &listed.listed.subscription);
        Self {
            provider: subscription.provider.clone(),
            provider_id: subscription.provider_id.clone(),
            customer: subscription.customer.clone(),
            account_id: account(subscription.owner),
            created_at: listed.listed.created_at,
            as_of: subscription.as_of,
            status: access.status.clone(),
            active: access.active,
            reason: access.reason.as_str(),
            until: access.until,
            paid_until: subscription.paid_until,
            collection_paused: subscription.collection_paused,
            monthly: Standing::of(subscription).monthly,
            details: subscription.into(),
        }
    }
}

/// Everybody's subscriptions, or some, newest first, with those that are over.
#[utoipa::path(get, path = "/v1/admin/subscriptions", tag = "admin", params(SubscriptionsQuery), responses((status = 200, description = "A page of subscriptions.", body = List<AdminSubscriptionResponse>)))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<AdminSubscriptionResponse>>, Problem> {
    let ask: SubscriptionsQuery = query::read(&request)?;
    let page = PageQuery::of(ask.limit, ask.cursor);
    let (before, limit) = (page.after()?, page.limit()?);
    let filter = SubscriptionFilter {
        owner: ask.user.map(|user| Owner::account(UserId(user))),
        status: ask.status,
        plan: ask.plan,
    };
    let billing = Arc::clone(&api.billing);
    let page = api
        .run(async move { billing.list_subscriptions(&filter, before, limit).await })
        .await?;
    let last = page.items.last().filter(|_| page.more);
    Ok(web::Json(List {
        next_cursor: last.map(|last| last.listed.cursor().to_string()),
        data: page.items.iter().map(Into::into).collect(),
    }))
}
