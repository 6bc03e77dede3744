//! The contract of mailers, on a folder.

#![expect(clippy::unwrap_used, reason = "this binary is tests from end to end")]

use std::sync::Arc;

use anteroom_contract::mailer::Bench;
use anteroom_contract::mailer_contract;
use anteroom_mail_folder::MailFolder;
use anteroom_ports::Mailer;
use anteroom_testkit::FixedClock;
use async_trait::async_trait;

struct Folder {
    scratch: tempfile::TempDir,
    mailer: Arc<MailFolder>,
}

impl Folder {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("data/mail");
        let mailer = MailFolder::new(folder, "Anteroom <no-reply@id.example>", Arc::new(FixedClock::new())).unwrap();
        Self {
            scratch,
            mailer: Arc::new(mailer),
        }
    }
}

#[async_trait]
impl Bench for Folder {
    fn mailer(&self) -> Arc<dyn Mailer> {
        Arc::<MailFolder>::clone(&self.mailer)
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.scratch.path().join("data/mail")) else {
            return Vec::new();
        };
        entries
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }

    async fn take_away(&self) {
        // A file where the folder was to be.
        std::fs::write(self.scratch.path().join("data"), "").unwrap();
    }
}

mailer_contract!(Folder::new());
