//! What is bought once at the fake provider, and a test that pays it or gives it back.

use anteroom_domain::Timestamp;
use anteroom_ports::billing::{Checkout, PaymentError, ProviderPage, Purchase, PurchaseOrder};

use super::{Answered, FakePayments, State, other_use};
use crate::lock;

/// What the checkouts of purchases begin with; a number follows.
const CHECKOUT: &str = "cs_fake_once_";

/// What their payments begin with; the same number follows.
const PAYMENT: &str = "pi_fake_once_";

impl State {
    /// By its checkout or its payment.
    fn purchase_mut(&mut self, id: &str) -> Option<&mut Purchase> {
        let checkout = match id.strip_prefix(PAYMENT) {
            Some(number) => format!("{CHECKOUT}{number}"),
            None => id.to_owned(),
        };
        self.purchases.iter_mut().find(|purchase| purchase.id == checkout)
    }
}

impl FakePayments {
    /// The orders of what is bought once, oldest first.
    pub fn purchase_orders(&self) -> Vec<PurchaseOrder> {
        lock(&self.state).purchase_orders.clone()
    }

    /// Plays a buyer who pays such a checkout at this time: `cs_fake_once_<number of the order>`, whose payment is
    /// `pi_fake_once_<the same number>`.
    pub fn pay_purchase(&self, id: &str, now: Timestamp) -> Option<Purchase> {
        let mut state = lock(&self.state);
        let purchase = state.purchase_mut(id)?;
        purchase.paid = true;
        purchase.created = now;
        Some(purchase.clone())
    }

    /// Gives so much of it back, in the currency's smallest unit, beside what went back before, and at most all of it.
    pub fn refund_purchase(&self, id: &str, amount: i64) -> Option<Purchase> {
        let mut state = lock(&self.state);
        let purchase = state.purchase_mut(id)?;
        purchase.refunded = purchase.refunded.saturating_add(amount).min(purchase.amount);
        Some(purchase.clone())
    }

    /// Keeps a purchase in place of the one with its identifier.
    pub fn put_purchase(&self, purchase: Purchase) {
        let mut state = lock(&self.state);
        match state.purchase_mut(&purchase.id) {
            Some(there) => *there = purchase,
            None => state.purchases.push(purchase),
        }
    }

    /// Forgets a purchase.
    pub fn remove_purchase(&self, id: &str) {
        lock(&self.state).purchases.retain(|purchase| purchase.id != id);
    }

    /// The identifiers of purchases that were asked for, oldest first.
    pub fn purchases_fetched(&self) -> Vec<String> {
        lock(&self.state).purchases_fetched.clone()
    }

    pub(super) fn open_purchase(&self, order: &PurchaseOrder, key: &str) -> Result<Checkout, PaymentError> {
        let credits = order.credits().ok_or_else(|| PaymentError::Refused {
            code: None,
            message: "that many cannot be sold".to_owned(),
        })?;
        let answered = self.once("opening a checkout", key, |state| {
            let id = format!("{CHECKOUT}{}", state.purchase_orders.len());
            state.purchase_orders.push(order.clone());
            state.purchases.push(Purchase {
                id: id.clone(),
                customer: Some(order.customer.clone()),
                owner: Some(order.owner),
                pack: order.pack.key.clone(),
                credits,
                amount: order.pack.amount.saturating_mul(order.quantity),
                currency: order.pack.currency.clone(),
                paid: false,
                refunded: 0,
                created: Timestamp::UNIX_EPOCH,
            });
            let url = format!("https://pay.example/{id}");
            Ok(Answered::Purchase(Checkout { id, url }))
        })?;
        match answered {
            Answered::Purchase(checkout) => Ok(checkout),
            _ => Err(other_use()),
        }
    }

    /// Those that were paid since then, and those of which something went back, whenever that was.
    pub(super) fn page_of_purchases(
        &self,
        since: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<Purchase>, PaymentError> {
        let limit = usize::try_from(limit).unwrap_or(100).clamp(1, 100);
        self.look("listing purchases", |state| {
            let listed = |it: &&Purchase| it.paid && (it.created >= since || it.refunded > 0);
            let all: Vec<&Purchase> = state.purchases.iter().rev().filter(listed).collect();
            let skipped = match after {
                Some(id) => all.iter().position(|it| it.id == id).map(|at| at + 1),
                None => Some(0),
            };
            let skipped = skipped.ok_or(PaymentError::NotFound("purchase"))?;
            let items: Vec<_> = all.iter().skip(skipped).take(limit).copied().cloned().collect();
            let more = all.len() > skipped + items.len();
            let next = items.last().filter(|_| more).map(|it| it.id.clone());
            Ok(ProviderPage { items, next })
        })
    }

    pub(super) fn look_at_purchase(&self, id: &str) -> Result<Option<Purchase>, PaymentError> {
        self.look("asking for a purchase", |state| {
            state.purchases_fetched.push(id.to_owned());
            if state.serves_only.as_deref().is_some_and(|only| only != id) {
                return Err(PaymentError::Unavailable("away for this one".to_owned()));
            }
            Ok(state.purchase_mut(id).cloned())
        })
    }
}
