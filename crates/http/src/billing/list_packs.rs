//! `GET /v1/billing/credits/packs`

use actix_web::web;
use anteroom_domain::billing::Credits;
use anteroom_services::billing::Pack;
use serde::Serialize;

use crate::Api;
use crate::caller::Anonymous;

/// The packs of credits that can be bought.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PackList {
    /// In the operator's order.
    data: Vec<PackResponse>,
}

/// A pack of credits.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = CreditPack)]
pub struct PackResponse {
    /// What a checkout calls it.
    #[schema(example = "small")]
    key: String,
    /// Its name for people.
    #[schema(example = "500 credits")]
    name: String,
    /// How many are in it.
    #[schema(example = 500.0)]
    credits: f64,
    /// What it costs, in the currency's smallest unit.
    #[schema(example = 500)]
    amount: i64,
    /// ISO 4217, lower case.
    #[schema(example = "usd")]
    currency: String,
    /// For how many days the credits last once they are paid; `null`: for good.
    #[schema(example = 365)]
    expires_days: Option<i64>,
}

impl From<&Pack> for PackResponse {
    fn from(it: &Pack) -> Self {
        Self {
            key: it.pack.key.clone(),
            name: it.pack.name.clone(),
            credits: Credits(it.pack.credits).number(),
            amount: it.pack.amount,
            currency: it.pack.currency.clone(),
            expires_days: it.lasts.map(|lasts| lasts.as_hours() / 24),
        }
    }
}

/// The packs of credits that can be bought.
#[utoipa::path(get, path = "/v1/billing/credits/packs", tag = "billing", responses((status = 200, description = "The packs.", body = PackList)))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>) -> web::Json<PackList> {
    let data = api.billing.packs().iter().map(Into::into).collect();
    web::Json(PackList { data })
}
