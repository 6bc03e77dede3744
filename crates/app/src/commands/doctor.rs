//! `anteroom doctor`: everything a start needs, checked one by one, changing nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anteroom_crypto::DeploymentKeys;
use anteroom_ports::billing::Published;
use anteroom_ports::{Clock, PaymentProvider as _, Store};
use anteroom_services::Ops;
use anteroom_services::chat::Provider;
use anteroom_services::migrations::schema_status;
use jiff::SignedDuration;

use super::{read, runtime, say};
use crate::config::{DatabaseTarget, MailTransport, PaymentProviderName, ProviderKind, Settings};
use crate::logging::{self, Output};
use crate::migrations::listed;
use crate::payments::stripe;
use crate::plans::catalogue;
use crate::providers::providers;
use crate::secret_file::existing_secret_key;
use crate::system::{SystemClock, SystemIds};
use crate::wiring::{ECHO_MODEL, breached_passwords, mailer, open_store};

struct Findings {
    bad: bool,
}

impl Findings {
    fn good(what: &str, detail: &str) {
        say(&format!("ok    {what}: {detail}"));
    }

    fn bad(&mut self, what: &str, detail: &str) {
        self.bad = true;
        say(&format!("FAIL  {what}: {detail}"));
    }
}

/// Checks everything and says what was found.
pub(super) fn run(path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let loaded = read(path)?;
    logging::start(&loaded.settings, Output::Stderr)?;
    let mut findings = Findings { bad: false };
    Findings::good("configuration", "complete");
    for warning in &loaded.warnings {
        say(&format!("warn  configuration: {warning}"));
    }
    runtime()?.block_on(look(&loaded.settings, &mut findings));
    Ok(if findings.bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn look(settings: &Settings, findings: &mut Findings) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match settings.database() {
        DatabaseTarget::Sqlite(file) if !file.exists() => {
            Findings::good(
                "store",
                &format!("{} does not exist yet; the first start makes it", file.display()),
            );
        }
        _ => match open_store(settings).await {
            Ok(store) => {
                look_at_store(settings, &store, findings).await;
                look_at_key(settings, &store, findings).await;
            }
            Err(e) => findings.bad("store", &format!("{e:#}")),
        },
    }
    match breached_passwords(settings) {
        Ok(Some(list)) => Findings::good("breached passwords", &format!("{} in the list", list.entries())),
        Ok(None) => {}
        Err(e) => findings.bad("breached passwords", &format!("{e:#}")),
    }
    look_at_mail(settings, findings).await;
    look_at_payments(settings, findings).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match providers(settings, &clock) {
        Err(e) => findings.bad("models", &format!("{e:#}")),
        Ok(providers) => {
            if settings
                .model_providers()
                .iter()
                .all(|provider| provider.kind == ProviderKind::Echo)
            {
                return Findings::good("models", "the built-in `echo`");
            }
            for (i, provider) in providers.iter().enumerate() {
                look_at_models(settings, provider, i == 0, findings).await;
            }
            look_at_prices(settings);
        }
    }
}

/// Asks the mail server as for a mail, and sends none.
async fn look_at_mail(settings: &Settings, findings: &mut Findings) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let place = settings
        .mail_server()
        .map_or_else(String::new, |server| server.server());
    if settings.mail.transport == MailTransport::Folder {
        // Made with the first mail; doctor makes nothing.
        return Findings::good(
            "mail",
            &format!("files in {}", settings.data.dir.join("mail").display()),
        );
    }
    match mailer(settings, &clock) {
        Ok(None) => Findings::good("mail", "none: no mail leaves"),
        Err(e) => findings.bad("mail", &format!("{e:#}")),
        Ok(Some(mailer)) => match mailer.check().await {
            Ok(()) => Findings::good("mail", &format!("{place} answers")),
            Err(e) => findings.bad("mail", &format!("{place}: {e}")),
        },
    }
}

/// Asks Stripe for the prices of what is sold. The stub's are made when they are bought.
async fn look_at_payments(settings: &Settings, findings: &mut Findings) {
    if settings.billing.provider != PaymentProviderName::Stripe {
        return;
    }
    let asked = async {
        let provider = stripe(settings)?;
        let sales = anteroom_services::billing::sales(&catalogue(settings)?);
        let outcomes = provider.publish(&sales, true).await?;
        anyhow::Ok(sales.into_iter().zip(outcomes).collect::<Vec<_>>())
    };
    let published = match asked.await {
        Ok(published) => published,
        Err(e) => return findings.bad("payments", &format!("{e:#}")),
    };
    Findings::good("payments", "Stripe takes the key");
    for (sale, outcome) in published {
        match outcome {
            Published::Unchanged => {}
            Published::Created => findings.bad(
                "payments",
                &format!("{} is not published: anteroom plans publish", sale.lookup_key()),
            ),
            Published::Differs { .. } => findings.bad(
                "payments",
                &format!(
                    "{} stands at Stripe with other terms: anteroom plans diff",
                    sale.lookup_key()
                ),
            ),
        }
    }
}

async fn look_at_models(settings: &Settings, provider: &Provider, is_first: bool, findings: &mut Findings) {
    let (name, ai) = (&provider.name, &settings.ai);
    let offered = match provider.models.models().await {
        Ok(offered) => offered,
        Err(e) => return findings.bad("models", &format!("{name}: {}", e.detail)),
    };
    let lists = |model: &str| offered.iter().any(|o| o.id == model);
    let plain = ai
        .models
        .iter()
        .filter(|model| is_first && name != "echo" && !lists(model));
    let mut missing: Vec<String> = plain.cloned().collect();
    for alias in &ai.aliases {
        let own = alias.targets.iter().filter(|target| target.provider == *name);
        let unlisted = own.filter(|target| !lists(&target.model));
        missing.extend(unlisted.map(|target| format!("{} (a target of {})", target.model, alias.name)));
    }
    if missing.is_empty() {
        Findings::good("models", &format!("{name} lists {}", offered.len()));
    } else {
        findings.bad("models", &format!("{name} does not list {}", missing.join(", ")));
    }
}

/// What of the configured models has no price. Calls to them are made all the same.
fn look_at_prices(settings: &Settings) {
    let ai = &settings.ai;
    let stated = |model: &str| ai.prices.iter().any(|price| price.model == model);
    let of_aliases = ai.aliases.iter().flat_map(|alias| &alias.targets);
    let of_aliases = of_aliases
        .filter(|target| target.price().is_none())
        .map(|target| &target.model);
    let mut unpriced: Vec<&str> = of_aliases
        .chain(&ai.models)
        .map(String::as_str)
        .filter(|model| !stated(model) && *model != ECHO_MODEL)
        .collect();
    unpriced.sort_unstable();
    unpriced.dedup();
    if !unpriced.is_empty() {
        let models = unpriced.join(", ");
        say(&format!(
            "warn  prices: none stated for {models}: their calls have no cost, and count at ai.assumed_…_usd_per_million \
             against limits of money"
        ));
    }
}

/// Whether the store was filled under this key; it is not written to.
async fn look_at_key(settings: &Settings, store: &Arc<dyn Store>, findings: &mut Findings) {
    let keys = match existing_secret_key(settings) {
        Ok(Some(key)) => DeploymentKeys::derive(&key).map_err(anyhow::Error::from),
        Ok(None) => return Findings::good("secret key", "none yet; the first start makes it"),
        Err(e) => Err(e),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(e) => return findings.bad("secret key", &format!("{e:#}")),
    };
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let ops = Ops::new(Arc::clone(store), Arc::new(keys), clock, ids, SignedDuration::ZERO);
    match ops.compare_key().await {
        Ok(true) => Findings::good("secret key", "the one this store was filled under"),
        Ok(false) => Findings::good("secret key", "the store has none yet; the first start notes it"),
        Err(e) => findings.bad("secret key", &e.to_string()),
    }
}

async fn look_at_store(settings: &Settings, store: &Arc<dyn Store>, findings: &mut Findings) {
    match schema_status(&**store).await {
        Ok(status) if status.current() => Findings::good("store", &format!("{}, schema current", store.kind())),
        Ok(status) if status.unknown.is_empty() && settings.migrates_at_start() => Findings::good(
            "store",
            &format!(
                "{}, {} migrations to apply at the next start",
                store.kind(),
                status.pending.len()
            ),
        ),
        Ok(status) if status.unknown.is_empty() => findings.bad(
            "store",
            &format!(
                "{}, {} migrations to apply before the server starts: `anteroom migrate up`",
                store.kind(),
                status.pending.len()
            ),
        ),
        Ok(status) => findings.bad(
            "store",
            &format!("a newer version has been here: {}", listed(&status.unknown)),
        ),
        Err(e) => findings.bad("store", &e.to_string()),
    }
}
