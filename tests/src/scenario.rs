//! A request with everything that is to come of it: the answer, the events in the log, the mails. What is not named is
//! not to happen.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Instant;

use anteroom_ports::audit::AuditFilter;
use serde_json::Value;

use crate::app::TestApp;
use crate::client::{Answer, Ask};
use crate::{PATIENCE, logs};

/// A request and what it must lead to; `.await` makes it and looks.
#[must_use]
pub struct Scenario {
    ask: Ask,
    status: u16,
    code: Option<&'static str>,
    errors: Vec<(String, String)>,
    events: Vec<&'static str>,
    mails: Vec<String>,
    audit: Option<Vec<&'static str>>,
}

impl Scenario {
    pub(crate) fn new(ask: Ask, status: u16) -> Self {
        Self {
            ask,
            status,
            code: None,
            errors: Vec::new(),
            events: Vec::new(),
            mails: Vec::new(),
            audit: None,
        }
    }

    /// The error's code.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The faults of a 422: pointer and code of each.
    pub fn errors(mut self, errors: &[(&str, &str)]) -> Self {
        let owned = |(pointer, code): &(&str, &str)| ((*pointer).to_owned(), (*code).to_owned());
        self.code = Some("validation_failed");
        self.errors = errors.iter().map(owned).collect();
        self
    }

    /// The events that the log names for this request, in any order; without this, none.
    pub fn events(mut self, events: &[&'static str]) -> Self {
        events.clone_into(&mut self.events);
        self
    }

    /// The rows that the request leaves in the audit log, in any order, each as `account.login succeeded`; without this
    /// it is not looked at.
    pub fn audit(mut self, rows: &[&'static str]) -> Self {
        self.audit = Some(rows.to_vec());
        self
    }

    /// To whom mails leave; without this, to nobody.
    pub fn mails(mut self, to: &[&str]) -> Self {
        self.mails = to.iter().map(|&to| to.to_owned()).collect();
        self
    }
}

impl IntoFuture for Scenario {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let app = self.ask.app.clone();
            app.expect_mails(&self.mails);
            let answer = self.ask.await;
            assert_eq!(answer.status, self.status, "{answer:?}");
            if let Some(code) = self.code {
                assert_eq!(answer.code(), code, "{answer:?}");
            }
            if !self.errors.is_empty() {
                assert_eq!(faults(&answer.json()), self.errors, "{answer:?}");
            }
            logged(&app, &answer.request_id(), &self.events).await;
            if let Some(mut rows) = self.audit {
                let mut found = recorded(&app, &answer.request_id()).await;
                found.sort();
                rows.sort_unstable();
                assert_eq!(found, rows, "what the audit log has of {answer:?}");
            }
            app.mails_have_left().await;
            answer
        })
    }
}

/// The rows of the audit log that a request has left, as `account.login succeeded`. They are there with its answer.
pub async fn recorded(app: &TestApp, request_id: &str) -> Vec<String> {
    let (all, mut before, mut found) = (AuditFilter::default(), None, Vec::new());
    loop {
        let page = app.services().audit.list_audit(&all, before, 200).await.unwrap();
        for entry in &page.items {
            if entry.request_id.is_some_and(|id| id.to_string() == request_id) {
                found.push(format!("{} {}", entry.act, entry.outcome.as_str()));
            }
        }
        before = page.items.last().map(|entry| entry.id);
        if !page.more {
            return found;
        }
    }
}

/// Pointer and code of each fault in a problem.
fn faults(problem: &Value) -> Vec<(String, String)> {
    let text = |error: &Value, key: &str| error[key].as_str().unwrap_or_default().to_owned();
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().map(|e| (text(e, "pointer"), text(e, "code"))).collect()
}

/// Fails unless the request has logged exactly these events, some of them perhaps a moment after its answer.
pub async fn logged(app: &TestApp, request_id: &str, events: &[&str]) {
    let begun = Instant::now();
    loop {
        let found = logs::of_request(request_id);
        let mut names: Vec<&str> = found.iter().map(|e| e.name.as_str()).collect();
        let mut events = events.to_vec();
        // What is booked in the background is logged before or after what the answer says.
        names.sort_unstable();
        events.sort_unstable();
        if names == events {
            return;
        }
        let hopeless = names.len() > events.len() || begun.elapsed() > PATIENCE;
        assert!(
            !hopeless,
            "{}: {events:?} was to be logged, but it was {found:#?}",
            app.url()
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
