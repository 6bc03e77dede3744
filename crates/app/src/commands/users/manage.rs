//! `anteroom users list`, `show`, `disable`, `enable`, `set-role`, `revoke-sessions`, `reset-mail`: what admins do over
//! HTTP, done by whoever may run commands on the host.

use std::process::ExitCode;

use anteroom_domain::UserId;
use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_http::accounts::{AdminUserResponse, UserDetailsResponse};
use anteroom_ports::accounts::UserFilter;
use anteroom_services::Client;
use anteroom_services::accounts::{ChangeUser, UserDetails};
use anyhow::Context as _;

use super::super::say;
use super::services;
use crate::cli::{UserArgs, UsersListArgs, UsersSetRoleArgs};
use crate::config::Settings;
use crate::wiring::Services;

pub(super) async fn list(args: UsersListArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = services(settings).await?;
    let filter = UserFilter {
        role: args.role.map(Into::into),
        disabled: args.disabled,
        verified: args.verified,
        text: args.query.filter(|text| !text.trim().is_empty()),
    };
    let (mut before, mut left, mut listed) = (None, args.limit, 0_u64);
    let mut more = false;
    while left > 0 {
        let page = services.accounts.list_users(&filter, before, left.min(500)).await?;
        before = page.items.last().map(|user| user.id);
        left -= i64::try_from(page.items.len()).unwrap_or(left);
        for user in &page.items {
            listed += 1;
            if args.json {
                say(&serde_json::to_string(&AdminUserResponse::from(user))?);
            } else {
                say(&line(user));
            }
        }
        more = page.more;
        if !more {
            break;
        }
    }
    if !args.json {
        let rest = if more { ", and there are more (--limit)" } else { "" };
        say(&format!("{listed} accounts{rest}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(user: &User) -> String {
    let mut notes = vec![user.role.as_str()];
    notes.push(if user.email_verified { "verified" } else { "unverified" });
    if user.disabled_at.is_some() {
        notes.push("disabled");
    }
    if user.delete_after.is_some() {
        notes.push("to be deleted");
    }
    format!("{}  {:<32}  {}", user.id, user.email.as_str(), notes.join(", "))
}

async fn find(services: &Services, args: &UserArgs) -> anyhow::Result<UserId> {
    let found = services.accounts.find_user(&args.email).await?;
    Ok(found.with_context(|| format!("no account is {}", args.email))?.id)
}

/// Says how the account stands now; `done` is what was done to it.
async fn tell(services: &Services, id: UserId, args: &UserArgs, done: Option<&str>) -> anyhow::Result<ExitCode> {
    let details = services.accounts.show_user(id).await?;
    let details = details.context("the account has been deleted meanwhile")?;
    if args.json {
        say(&serde_json::to_string_pretty(&UserDetailsResponse::from(&details))?);
    } else if let Some(done) = done {
        say(&format!("{} ({id}): {done}", details.user.email.as_str()));
    } else {
        say(&paragraph(&details));
    }
    Ok(ExitCode::SUCCESS)
}

fn paragraph(details: &UserDetails) -> String {
    let user = &details.user;
    let time = |at: Option<anteroom_domain::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let verified = if user.email_verified { "verified" } else { "unverified" };
    [
        ("id", user.id.to_string()),
        ("email", format!("{} ({verified})", user.email.as_str())),
        ("name", user.name.clone().unwrap_or_else(|| "-".to_owned())),
        ("locale", user.locale.clone()),
        ("role", user.role.as_str().to_owned()),
        ("created", user.created_at.to_string()),
        ("last login", time(details.last_login_at)),
        ("open sessions", details.sessions.to_string()),
        ("disabled since", time(user.disabled_at)),
        ("to be deleted", time(user.delete_after)),
    ]
    .map(|(name, value)| format!("{name:<15} {value}"))
    .join("\n")
}

pub(super) async fn show(args: &UserArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = services(settings).await?;
    let id = find(&services, args).await?;
    tell(&services, id, args, None).await
}

async fn change(args: &UserArgs, change: ChangeUser, done: &str, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = services(settings).await?;
    let id = find(&services, args).await?;
    services
        .accounts
        .change_user(id, change, Actor::Operator, &Client::default())
        .await?;
    tell(&services, id, args, Some(done)).await
}

pub(super) async fn set_disabled(args: &UserArgs, disabled: bool, settings: &Settings) -> anyhow::Result<ExitCode> {
    let done = if disabled {
        "the account is closed, and its sessions have ended"
    } else {
        "the account is open"
    };
    let ask = ChangeUser {
        disabled: Some(disabled),
        ..ChangeUser::default()
    };
    change(args, ask, done, settings).await
}

pub(super) async fn set_role(args: &UsersSetRoleArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let role: anteroom_domain::accounts::Role = args.role.into();
    let ask = ChangeUser {
        role: Some(role),
        ..ChangeUser::default()
    };
    change(&args.user, ask, &format!("the role is {}", role.as_str()), settings).await
}

pub(super) async fn revoke_sessions(args: &UserArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = services(settings).await?;
    let id = find(&services, args).await?;
    let ended = services
        .sessions
        .end_sessions_of_user(id, Actor::Operator, &Client::default())
        .await?;
    tell(&services, id, args, Some(&format!("{ended} sessions have ended"))).await
}

pub(super) async fn send_reset_mail(args: &UserArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let services = services(settings).await?;
    let id = find(&services, args).await?;
    services
        .accounts
        .send_reset_mail(id, Actor::Operator, &Client::default())
        .await?;
    let done = "a link that sets a new password is in the outbox; the running server mails it";
    tell(&services, id, args, Some(done)).await
}
