//! `/v1/billing`

mod checkout;
mod flows;
mod lost_purchases;
mod mails;
mod overage;
mod packs;
mod requires;
mod seats;
mod trial_without_card;
mod webhooks;
