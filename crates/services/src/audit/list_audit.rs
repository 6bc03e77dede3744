//! Reading the log, for the operator's people.

use anteroom_domain::AuditId;
use anteroom_domain::audit::AuditEntry;
use anteroom_ports::StoreResult;
use anteroom_ports::audit::AuditFilter;

use super::Audit;
use crate::Page;

impl Audit {
    /// A page of the log, newest first, older than `before`.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        before: Option<AuditId>,
        limit: i64,
    ) -> StoreResult<Page<AuditEntry>> {
        let entries = self.store.read().await?.page_audit(filter, before, limit + 1).await?;
        Ok(Page::cut(entries, limit))
    }
}
