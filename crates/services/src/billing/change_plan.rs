//! A subscriber changes what they pay for, or for how many seats: up at once, down with the next period.

use anteroom_domain::billing::{Owner, Plan, Price, SeatsRefused, Subscription, SubscriptionStatus};
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{ChangePreview, PaymentError, PlanChange, Sale, When};
use tracing::info;

use super::{Billing, ChangeError};

/// What the subscriber wants.
#[derive(Debug, Clone)]
pub struct ChangeAsk {
    /// The plan's key.
    pub plan: String,
    /// `month` or `year`; as now without one.
    pub interval: Option<String>,
    /// For how many seats; as many as now without it.
    pub seats: Option<i64>,
    /// From when on. Without it what is better begins at once and what is less with the next period.
    pub when: Option<When>,
}

/// What a change would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previewed {
    /// From when on it would hold.
    pub when: When,
    /// What it would cost at once; nothing where it waits for the next period.
    pub cost: Option<ChangePreview>,
}

impl Billing {
    /// The subscription of an owner that can be changed now.
    pub(super) async fn held(&self, owner: Owner) -> Result<Subscription, ChangeError> {
        if self.provider.is_none() {
            return Err(ChangeError::NoProvider);
        }
        let held = self.store.read().await?.subscription_of(owner).await?;
        held.filter(Subscription::live).ok_or(ChangeError::NoSubscription)
    }

    /// Says what a change would cost, without changing anything.
    pub async fn preview_change(&self, owner: Owner, ask: &ChangeAsk) -> Result<Previewed, ChangeError> {
        let held = self.held(owner).await?;
        let provider = self.provider_of(&held)?;
        let change = self.change(&held, ask)?;
        let cost = match change.when {
            When::Now => {
                let cost = provider.preview_change(&held.provider_id, &change).await;
                Some(self.unless_gone(provider, &held, cost).await?)
            }
            When::PeriodEnd => None,
        };
        Ok(Previewed {
            when: change.when,
            cost,
        })
    }

    /// Changes what is paid for. At once: the difference is paid at once, and if it is not, nothing changes. Answers with
    /// how the subscription stands then.
    pub async fn change_plan(&self, owner: Owner, ask: &ChangeAsk) -> Result<When, ChangeError> {
        let held = self.held(owner).await?;
        let provider = self.provider_of(&held)?;
        let change = self.change(&held, ask)?;
        if change.when == When::Now {
            // It is billed at what it cost till now.
            self.settle_overage(owner).await?;
        }
        let key = format!("change-{}", self.ids.uuid());
        let changed = provider.change_plan(&held.provider_id, &change, &key).await;
        self.unless_gone(provider, &held, changed).await?;
        info!(event = "subscription.change_requested", provider = %held.provider, owner_id = %owner.id, from = %held.plan, to = %change.sale.plan, interval = %change.sale.price.interval, seats = change.quantity, now = (change.when == When::Now));
        self.look_up(provider, &held.provider_id).await?;
        Ok(change.when)
    }

    /// What the provider answered. If it no longer knows the subscription, that is written down, and there is none.
    pub(super) async fn unless_gone<T>(
        &self,
        provider: &dyn PaymentProvider,
        held: &Subscription,
        answer: Result<T, PaymentError>,
    ) -> Result<T, ChangeError> {
        if let Err(PaymentError::NotFound("subscription")) = &answer {
            self.look_up(provider, &held.provider_id).await?;
            return Err(ChangeError::NoSubscription);
        }
        Ok(answer?)
    }

    fn change(&self, held: &Subscription, ask: &ChangeAsk) -> Result<PlanChange, ChangeError> {
        use SubscriptionStatus as S;
        if !matches!(held.known(), Some(S::Active | S::Trialing)) {
            return Err(ChangeError::NotNow {
                status: held.status.as_str().to_owned(),
                hint: "settle what is open at /v1/billing/portal first",
            });
        }
        let unknown = || ChangeError::UnknownPlan { plan: ask.plan.clone() };
        let plan = self.plan_asked(held, ask).ok_or_else(unknown)?;
        if !plan.for_sale() {
            return Err(ChangeError::NotForSale(ask.plan.clone()));
        }
        let paid = held.price.as_ref();
        let interval = ask.interval.as_deref().or(paid.map(|price| price.interval.as_str()));
        // A subscription's currency stays.
        let currency = paid.map(|price| price.currency.as_str());
        let sale = Sale::new(plan, plan.price(interval, currency).ok_or_else(unknown)?);
        let quantity = seats(plan, held, ask)?;
        let same = held.plan == sale.plan && held.plan_version == sale.version && held.next_plan.is_none();
        if same && held.quantity == quantity && paid.is_some_and(|paid| paid.interval == sale.price.interval) {
            return Err(ChangeError::Unchanged(ask.plan.clone()));
        }
        let rank = self
            .catalogue()
            .bought(&held.plan, held.plan_version)
            .map(|plan| plan.rank);
        let better = match (rank, paid.map(years)) {
            (Some(rank), _) if plan.rank != rank => plan.rank > rank,
            // Of one plan the longer interval is the better one, and of one interval what is for more seats.
            (_, Some(paid)) if years(&sale.price) != paid => years(&sale.price),
            _ => quantity >= held.quantity,
        };
        let when = ask.when.unwrap_or(if better { When::Now } else { When::PeriodEnd });
        // What their limits were used for would be paid back.
        let fewer = held.plan == sale.plan && quantity < held.quantity;
        if fewer && when == When::Now && paid.is_some_and(|paid| paid.interval == sale.price.interval) {
            return Err(ChangeError::NotNow {
                status: held.status.as_str().to_owned(),
                hint: "fewer seats begin with the next period",
            });
        }
        Ok(PlanChange { sale, quantity, when })
    }

    /// The plan that is asked for, as it is sold today. Where nothing but the number of seats is to change, it is the version
    /// that is held, whose terms and price stay.
    fn plan_asked(&self, held: &Subscription, ask: &ChangeAsk) -> Option<&Plan> {
        let catalogue = self.catalogue();
        let paid = held.price.as_ref().map(|price| price.interval.as_str());
        let stays = held.plan == ask.plan && ask.interval.as_deref().is_none_or(|asked| paid == Some(asked));
        let plan = match ask.seats {
            Some(seats) if stays && (seats != held.quantity || held.next_plan.is_some()) => {
                catalogue.bought(&held.plan, held.plan_version)
            }
            _ => catalogue.plan(&ask.plan),
        };
        plan.map(|plan| &**plan)
    }
}

/// How many seats it is to be for.
fn seats(plan: &Plan, held: &Subscription, ask: &ChangeAsk) -> Result<i64, SeatsRefused> {
    // More than one of a plan that is sold once was agreed upon at the provider, and stays with that plan.
    if plan.seats.is_none() && ask.seats.is_none() && plan.key == held.plan {
        return Ok(held.quantity);
    }
    plan.seats_bought(ask.seats, Some(held.quantity))
}

fn years(price: &Price) -> bool {
    price.interval == "year"
}
