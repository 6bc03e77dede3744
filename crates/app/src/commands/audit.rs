//! `anteroom audit verify` and `list`

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anteroom_domain::UserId;
use anteroom_domain::audit::AuditEntry;
use anteroom_http::audit::AuditEntryResponse;
use anteroom_ports::audit::AuditFilter;
use anteroom_services::audit::Verdict;
use anyhow::Context as _;

use super::{runtime, say};
use crate::cli::{AuditCommand, AuditListArgs, AuditVerifyArgs};
use crate::config::{Loaded, Settings};
use crate::wiring::beside_server;

/// How often the progress is written.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Works beside a running server.
pub(super) fn run(what: AuditCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    match what {
        AuditCommand::Verify(args) => runtime.block_on(verify(&args, &loaded.settings)),
        AuditCommand::List(args) => runtime.block_on(list(args, &loaded.settings)),
    }
}

async fn verify(args: &AuditVerifyArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = beside_server(settings).await?;
    let (shown, mut last) = (stderr().is_terminal(), Instant::now());
    let mut walked = |links: i64| {
        if shown && last.elapsed() >= SHOW_EVERY {
            last = Instant::now();
            let _ = write!(stderr(), "\r{links} rows checked\x1b[K");
        }
    };
    let verdict = services.audit.verify(args.head, &mut walked).await;
    if shown {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    let verdict = verdict?;
    tell(&verdict);
    Ok(if verdict.intact() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(verdict: &Verdict) {
    for fault in &verdict.faults {
        say(&format!("BROKEN  {fault}"));
    }
    if verdict.more_faults > 0 {
        say(&format!("BROKEN  and {} more", verdict.more_faults));
    }
    let links = verdict.links;
    match verdict.head {
        Some(head) if verdict.intact() => say(&format!("intact: {links} rows are as they were sealed; head {head}")),
        Some(head) => say(&format!(
            "the audit log is broken: {links} rows were checked; head {head}"
        )),
        None if verdict.intact() => say("no row has a seal yet"),
        None => say("the audit log is broken: its chain is gone"),
    }
    if let Some((id, at)) = verdict.oldest_unsealed {
        let count = verdict.unsealed;
        say(&format!(
            "{count} rows have no seal yet, the oldest {id} of {at}; a running server seals within a second"
        ));
    }
}

async fn list(args: AuditListArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = beside_server(settings).await?;
    let find = async |who: Option<String>| -> anyhow::Result<Option<UserId>> {
        let Some(who) = who else { return Ok(None) };
        // The log outlives accounts, so an identifier need not belong to one any more.
        if let Ok(id) = who.parse() {
            return Ok(Some(id));
        }
        let user = services.accounts.find_user(&who).await?;
        Ok(Some(
            user.with_context(|| format!("no account has the address {who}"))?.id,
        ))
    };
    let filter = AuditFilter {
        user: find(args.user).await?,
        actor: find(args.actor).await?,
        subject: find(args.subject).await?,
        act: args.act,
        outcome: args.outcome.map(Into::into),
        from: args.from,
        until: args.until,
    };
    let (mut before, mut left) = (None, args.limit);
    while left > 0 {
        let page = services.audit.list_audit(&filter, before, left.min(500)).await?;
        before = page.items.last().map(|entry| entry.id);
        left -= i64::try_from(page.items.len()).unwrap_or(left);
        for entry in page.items {
            if args.json {
                say(&serde_json::to_string(&AuditEntryResponse::from(entry))?);
            } else {
                say(&line(&entry));
            }
        }
        if !page.more {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &AuditEntry) -> String {
    let actor = match entry.actor.id() {
        Some(id) => id.to_string(),
        None => entry.actor.kind().to_owned(),
    };
    let mut line = format!(
        "{:<27} {:<9} {:<26} by {actor}",
        entry.at.to_string(),
        entry.outcome.as_str(),
        entry.act
    );
    if let Some(subject) = entry.subject.filter(|subject| entry.actor.id() != Some(*subject)) {
        let _ = write!(line, " to {subject}");
    }
    if let Some(address) = &entry.address {
        let _ = write!(line, " from {address}");
    }
    if !entry.details.is_empty() {
        let _ = write!(line, " {}", entry.details_text());
    }
    line
}
