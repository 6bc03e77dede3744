//! What is bought once at the payment provider, and once again: packs of credits.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::Owner;

/// A pack of credits that can be bought once and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditPack {
    /// The pack's key.
    pub key: String,
    /// Its name, for people.
    pub name: String,
    /// How much is in it, in millionths of a credit; positive.
    pub credits: i64,
    /// What it costs, in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
}

/// What is bought once, by whom, and where the buyer goes afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseOrder {
    /// The buyer; is kept with the purchase, and never matched by e-mail.
    pub owner: Owner,
    /// The buyer at the provider.
    pub customer: String,
    /// What is bought.
    pub pack: CreditPack,
    /// How many of it; at least one.
    pub quantity: i64,
    /// Where the buyer goes after paying.
    pub success_url: String,
    /// Where the buyer goes after turning back.
    pub cancel_url: String,
}

impl PurchaseOrder {
    /// All the credits that are bought, in millionths; `None` where there are none, or more than can be counted.
    pub fn credits(&self) -> Option<i64> {
        let total = self.pack.credits.checked_mul(self.quantity);
        total.filter(|_| self.pack.credits > 0 && self.quantity > 0)
    }
}

/// How a one-time purchase stands at the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The provider's identifier of its checkout.
    pub id: String,
    /// Whose it is at the provider.
    pub customer: Option<String>,
    /// Whose it is, as checkout wrote it down; `None` of one that was made elsewhere.
    pub owner: Option<Owner>,
    /// The pack's key.
    pub pack: String,
    /// All the credits that were sold, in millionths: so many packs, at the terms of the day of sale.
    pub credits: i64,
    /// What all of it costs, in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Whether the money has come. It may come days after the buyer has left the checkout, and stays `true` when it goes
    /// back.
    pub paid: bool,
    /// How much of it has gone back, in the same unit: refunds, and what the buyer's bank has taken back for a dispute
    /// that has not been won. It falls when a dispute is won, or a refund does not arrive.
    pub refunded: i64,
    /// When its checkout was opened.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use anteroom_domain::UserId;

    #[test]
    fn the_credits_of_an_order_are_counted_or_there_are_none() {
        for (credits, quantity, total) in [
            (1_000_000, 1, Some(1_000_000)),
            (1_000_000, 3, Some(3_000_000)),
            (i64::MAX, 1, Some(i64::MAX)),
            (i64::MAX, 2, None),
            (1_000_000, 0, None),
            (1_000_000, -1, None),
            (0, 1, None),
            (-1, 1, None),
            (-1, -1, None),
        ] {
            let order = PurchaseOrder {
                owner: Owner::account(UserId(uuid::Uuid::nil())),
                customer: "cus_1".into(),
                pack: CreditPack {
                    key: "small".into(),
                    name: "Small".into(),
                    credits,
                    amount: 500,
                    currency: "usd".into(),
                },
                quantity,
                success_url: String::new(),
                cancel_url: String::new(),
            };
            assert_eq!(order.credits(), total, "{credits} x {quantity}");
        }
    }
}
