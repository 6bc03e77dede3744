//! A mailer that keeps what it is given.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;

use async_trait::async_trait;

use anteroom_ports::{Mail, MailError, Mailer};

use crate::lock;
use crate::store::assert_no_open_unit;

#[derive(Debug, Default)]
struct State {
    sent: Vec<Mail>,
    failures: VecDeque<MailError>,
    stuck: HashSet<String>,
    waiting: usize,
}

/// Records every mail that it took; fails as often as it was told to.
#[derive(Debug, Default)]
pub struct RecordingMailer {
    state: Mutex<State>,
}

impl RecordingMailer {
    /// A mailer that takes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next mail that is not failed already fails so. Failures queue up.
    pub fn fail_next(&self, error: MailError) {
        lock(&self.state).failures.push_back(error);
    }

    /// Forgets the failures that it was told of and that nobody has had yet.
    pub fn forgive(&self) {
        lock(&self.state).failures.clear();
    }

    /// Mails to this address are never taken and never refused: whoever sends one waits.
    pub fn stick(&self, to: &str) {
        lock(&self.state).stuck.insert(to.to_owned());
    }

    /// Mails to this address leave as others do again, as soon as somebody sends one anew.
    pub fn unstick(&self, to: &str) {
        lock(&self.state).stuck.remove(to);
    }

    /// How often somebody has begun to wait with such a mail.
    pub fn waited(&self) -> usize {
        lock(&self.state).waiting
    }

    fn sticks(&self, mail: &Mail) -> bool {
        let mut state = lock(&self.state);
        let sticks = state.stuck.contains(&mail.to);
        state.waiting += usize::from(sticks);
        sticks
    }

    /// What was taken, oldest first. A mail that was sent twice is here twice.
    pub fn sent(&self) -> Vec<Mail> {
        lock(&self.state).sent.clone()
    }

    /// The same, leaving none behind.
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut lock(&self.state).sent)
    }
}

#[async_trait]
impl Mailer for RecordingMailer {
    fn name(&self) -> &'static str {
        "recording"
    }

    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        assert_no_open_unit("sending mail");
        if self.sticks(mail) {
            return std::future::pending().await;
        }
        let mut state = lock(&self.state);
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        state.sent.push(mail.clone());
        Ok(())
    }

    async fn check(&self) -> Result<(), MailError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn it_fails_as_told_then_records() {
        let mailer = RecordingMailer::new();
        let mail = Mail {
            id: Uuid::nil(),
            to: "ada@example.com".into(),
            subject: "Hello".into(),
            text: "Hi\n".into(),
            html: "<p>Hi</p>\n".into(),
            locale: "en".into(),
        };
        mailer.fail_next(MailError::Temporary("busy".into()));
        assert!(mailer.send(&mail).await.is_err());
        assert!(mailer.sent().is_empty());
        mailer.send(&mail).await.unwrap();
        assert_eq!(mailer.take(), [mail]);
        assert!(mailer.sent().is_empty());
    }
}
