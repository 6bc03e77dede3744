//! Reading what was used: one's own, and for the operator's people everybody's.

use anteroom_domain::billing::{InvalidUsageSpan, Owner, UsageGroup, UsageSpan};
use anteroom_ports::StoreError;
use anteroom_ports::billing::{UsageAsk, UsageSum};
use jiff::civil::Date;

use super::Billing;

/// The most rows of an answer.
pub const MAX_USAGE_ROWS: usize = 10_000;

/// Why usage was not read.
#[derive(Debug, thiserror::Error)]
pub enum ListUsageError {
    /// The days are none that can be asked for.
    #[error(transparent)]
    InvalidSpan(#[from] InvalidUsageSpan),
    /// There is too much of it.
    #[error("this has more than {MAX_USAGE_ROWS} rows: ask for a shorter time, or group by less")]
    TooManyRows,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// What an owner, or everybody, used from a day on and before another (in UTC). Without an end today is the last,
    /// without a beginning there are 30 days.
    pub async fn list_usage(
        &self,
        owner: Option<Owner>,
        from: Option<Date>,
        until: Option<Date>,
        by: Vec<UsageGroup>,
    ) -> Result<Vec<UsageSum>, ListUsageError> {
        let span = UsageSpan::new(from, until, self.clock.now())?;
        let ask = UsageAsk { owner, span, by };
        let most = i64::try_from(MAX_USAGE_ROWS + 1).unwrap_or(i64::MAX);
        let sums = self.store.read().await?.sum_usage(&ask, most).await?;
        if sums.len() > MAX_USAGE_ROWS {
            return Err(ListUsageError::TooManyRows);
        }
        Ok(sums)
    }
}
