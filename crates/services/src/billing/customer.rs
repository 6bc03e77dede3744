//! Who an owner is at the provider.

use anteroom_domain::accounts::User;
use anteroom_domain::billing::Owner;
use anteroom_ports::billing::PaymentError;
use anteroom_ports::{Durability, PaymentProvider, StoreError};

use tracing::warn;

use super::Billing;

impl Billing {
    /// Who a user is at the provider; made known there first, if need be. Of several who make the same user known at
    /// once, all get the first.
    pub(super) async fn customer<E>(&self, provider: &dyn PaymentProvider, user: &User) -> Result<String, E>
    where
        E: From<StoreError> + From<PaymentError>,
    {
        let owner = Owner::account(user.id);
        let known = self.store.read().await?.customer_of(provider.name(), owner).await?;
        if let Some(known) = known {
            return Ok(known);
        }
        let key = format!("customer-{}-{}", owner.kind.as_str(), owner.id);
        self.make_customer(provider, user, &key).await
    }

    /// The same for somebody whom the provider no longer knows, as it happens where customers are deleted by hand.
    pub(super) async fn customer_anew<E>(
        &self,
        provider: &dyn PaymentProvider,
        user: &User,
        gone: &str,
    ) -> Result<String, E>
    where
        E: From<StoreError> + From<PaymentError>,
    {
        warn!(event = "subscription.customer.gone", provider = provider.name(), user_id = %user.id);
        let mut unit = self.store.begin(Durability::Full).await?;
        unit.delete_customer(provider.name(), gone).await?;
        unit.commit().await?;
        // Under the first key the provider would answer as it did then.
        let key = format!("customer-{}-after-{gone}", user.id);
        self.make_customer(provider, user, &key).await
    }

    async fn make_customer<E>(&self, provider: &dyn PaymentProvider, user: &User, key: &str) -> Result<String, E>
    where
        E: From<StoreError> + From<PaymentError>,
    {
        let owner = Owner::account(user.id);
        let made = provider.create_customer(owner, user.email.as_str(), key).await?;
        let mut unit = self.store.begin(Durability::Full).await?;
        let stands = unit
            .insert_customer(provider.name(), &made, owner, self.clock.now())
            .await?;
        unit.commit().await?;
        Ok(stands)
    }
}
