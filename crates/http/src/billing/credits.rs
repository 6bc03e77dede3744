//! `GET /v1/me/credits` and what all routes of credits show.

use std::sync::Arc;

use actix_web::web;
use anteroom_domain::Timestamp;
use anteroom_domain::billing::{CreditEntry, CreditGrant};
use anteroom_services::billing::CreditsShown;
use serde::Serialize;
use uuid::Uuid;

use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query::List;

/// What somebody has of credits.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Credits)]
pub struct CreditsResponse {
    /// What can be spent now.
    #[schema(example = 87.5)]
    available: f64,
    /// What calls that run hold beside that, at most; what they do not use is given back.
    #[schema(example = 2.5)]
    held: f64,
    /// What was taken beyond what there was, and is paid from the next grant.
    #[schema(example = 0.0)]
    owed: f64,
    /// What one credit is worth: the price, in US dollars, of the calls that it pays for.
    #[schema(example = 0.01)]
    usd_per_credit: f64,
    /// Whether calls to models take credits in the plan in force.
    used_by_plan: bool,
    /// What the plan includes in each window.
    #[schema(example = 100.0)]
    included: Option<f64>,
    /// When the plan's next ones come.
    resets_at: Option<Timestamp>,
    /// What the credits were granted as, in the order in which they are taken.
    grants: Vec<CreditGrantResponse>,
}

/// Credits that were granted at once.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = CreditGrant)]
pub struct CreditGrantResponse {
    /// Identifier.
    id: Uuid,
    /// `plan` (included), `rollover` (left over from the window before), `admin` or `purchase`.
    #[schema(example = "plan")]
    source: &'static str,
    /// How many.
    #[schema(example = 100.0)]
    amount: f64,
    /// How many of them are left; none once they have ended.
    #[schema(example = 87.5)]
    left: f64,
    /// Lower ones are taken first.
    #[schema(example = 20)]
    priority: i32,
    /// Why, where somebody said so.
    reason: Option<String>,
    /// When.
    created_at: Timestamp,
    /// When they end; `null`: they last.
    expires_at: Option<Timestamp>,
}

/// A line of a ledger of credits. Lines are only ever added; the sum of all amounts is the balance.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = CreditEntry)]
pub struct CreditEntryResponse {
    /// Its number, from 1.
    #[schema(example = 3)]
    seq: i64,
    /// `grant`, `spend`, `expire`, `revoke`, or `repay`: what had been taken beyond what there was, paid from a later grant
    /// (two lines that come to nothing).
    #[schema(example = "spend")]
    kind: &'static str,
    /// What came (above zero) or went.
    #[schema(example = -2.5)]
    amount: f64,
    /// The balance after it.
    #[schema(example = 87.5)]
    balance: f64,
    /// Of which grant; `null`: beyond what there was.
    grant_id: Option<Uuid>,
    /// For what: a call's identifier (as in the usage), an `Idempotency-Key`, the grant's window or purchase.
    reference: String,
    /// When.
    at: Timestamp,
}

impl From<CreditsShown> for CreditsResponse {
    fn from(shown: CreditsShown) -> Self {
        let (account, now) = (&shown.account, shown.now);
        Self {
            available: account.available(now).number(),
            held: account.held.number(),
            owed: account.owed.number(),
            usd_per_credit: shown.rate.usd_per_credit.usd(),
            used_by_plan: shown.included.is_some(),
            included: shown.included.map(|included| included.amount.number()),
            resets_at: shown.included.map(|included| included.span.end),
            grants: account
                .grants()
                .map(|grant| CreditGrantResponse::new(grant, now))
                .collect(),
        }
    }
}

impl CreditGrantResponse {
    /// What is left of a grant now.
    pub(super) fn new(grant: &CreditGrant, now: Timestamp) -> Self {
        let left = if grant.live(now) { grant.left().number() } else { 0.0 };
        Self {
            id: grant.id.0,
            source: grant.source.as_str(),
            amount: grant.amount.number(),
            left,
            priority: grant.priority,
            reason: grant.reason.clone(),
            created_at: grant.created_at,
            expires_at: grant.expires_at,
        }
    }
}

impl From<CreditEntry> for CreditEntryResponse {
    fn from(line: CreditEntry) -> Self {
        Self {
            seq: line.seq,
            kind: line.kind.as_str(),
            amount: line.amount.number(),
            balance: line.balance.number(),
            grant_id: line.grant.map(|id| id.0),
            reference: line.reference,
            at: line.at,
        }
    }
}

/// A page of a ledger, out of one line more than fits on it.
pub(super) fn page(mut lines: Vec<CreditEntry>, limit: i64) -> web::Json<List<CreditEntryResponse>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next_cursor = lines.last().filter(|_| more).map(|line| line.seq.to_string());
    web::Json(List {
        data: lines.into_iter().map(Into::into).collect(),
        next_cursor,
    })
}

/// What the user who asks has of credits.
#[utoipa::path(get, path = "/v1/me/credits", tag = "billing", responses((status = 200, description = "The credits.", body = CreditsResponse)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<CreditsResponse>, Problem> {
    let billing = Arc::clone(&api.billing);
    let shown = api
        .run(async move { billing.show_credits(caller.who.user()).await })
        .await?;
    Ok(web::Json(shown.into()))
}
