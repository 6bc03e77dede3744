//! `anteroom serve`, and `anteroom` alone.

use std::process::ExitCode;
use std::time::Duration;

use anteroom_otlp::Exporter;
use tokio::signal::unix::{SignalKind, signal};

use super::{runtime, say};
use crate::config::{Loaded, LogFormat, ProviderKind, ProviderSettings, Settings};
use crate::server::{Running, serve};

/// The longest that sending the last spans may take.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or Ctrl-C.
pub(super) fn run(loaded: &Loaded, exporter: Option<Exporter>) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings.clone();
    raise_descriptor_limit();
    let runtime = runtime()?;
    runtime.block_on(async {
        // Listened for before anything starts, so that an early signal is not lost.
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let text = settings.log.format == LogFormat::Text;
        let exporting = exporter.map(Exporter::start);
        let running = serve(settings.clone()).await?;
        if text {
            say(&greeting(&settings, &running));
        }
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        let stopped = running.stop().await;
        if let Some(exporting) = exporting {
            exporting.stop(LAST_SPANS).await;
        }
        stopped
    })?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Each connection has two descriptors (the second notices that its client has gone), and shells give few.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(event = "server.descriptors.limited", current = limit.current, reason = %e);
    }
}

/// What a person wants to know first: where it is, what stands behind it, and what to set to change that.
fn greeting(settings: &Settings, running: &Running) -> String {
    let p = &running.parts;
    let url = running.public_url.as_str().trim_end_matches('/');
    let models = models(settings);
    let payments = match p.payments {
        "none" => "none: nothing can be bought",
        "stripe-stub" => "stripe-stub, which takes no money",
        "stripe" if settings.stripe.live() == Some(true) => "Stripe, live: money is taken",
        "stripe" => "Stripe, test mode: no money is taken",
        other => other,
    };
    let mail = match p.mailer {
        "none" => "none: no mail leaves".to_owned(),
        "folder" => format!("files in {}", settings.data.dir.join("mail").display()),
        other => settings
            .mail_server()
            .map_or(other.to_owned(), |server| format!("SMTP, {}", server.server())),
    };
    let metrics = running
        .metrics
        .map_or("off".to_owned(), |a| format!("http://{a}/metrics"));
    // A provider that the configuration names is not changed by variables.
    let set_models = if settings.ai.providers.is_empty() {
        "OPENAI_API_KEY, OPENAI_BASE_URL, AI_MODELS"
    } else {
        "ai.providers, ai.aliases"
    };
    let rows = [
        ("API", url.to_owned(), "HOST, PORT"),
        ("API docs", format!("{url}/docs"), ""),
        ("Metrics", metrics, "METRICS_HOST, METRICS_PORT"),
        ("Store", settings.database().redacted(), "DATABASE_URL"),
        ("Models", models, set_models),
        ("Payments", payments.to_owned(), "STRIPE_SECRET_KEY"),
        ("Mail", mail, "SMTP_URL"),
    ];
    let width = rows
        .iter()
        .map(|(_, value, _)| value.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!("\nAnteroom {} is ready.\n\n", env!("CARGO_PKG_VERSION"));
    for (name, value, variable) in rows {
        let row = if variable.is_empty() {
            format!("  {name:<9} {value}")
        } else {
            format!("  {name:<9} {value:<width$}  set {variable}")
        };
        text.push_str(&row);
        text.push('\n');
    }
    text.push_str(
        "\nEvery setting: `anteroom config dump`. The first admin: `anteroom admin create --email you@example.com`.\n",
    );
    text
}

/// What is offered, and where it comes from.
fn models(settings: &Settings) -> String {
    let providers = settings.model_providers();
    let place = |provider: &ProviderSettings| match (&provider.base_url, provider.kind) {
        (_, ProviderKind::Echo) => "the built-in `echo`".to_owned(),
        (Some(url), _) => url.to_string(),
        (None, _) => provider.name.clone(),
    };
    let aliases = settings.ai.aliases.iter().map(|alias| alias.name.as_str());
    let offered: Vec<&str> = aliases.chain(settings.ai.models.iter().map(String::as_str)).collect();
    match (providers.as_slice(), offered.as_slice()) {
        ([only], []) if only.kind == ProviderKind::Echo => {
            "the built-in `echo`, which repeats what it is told".to_owned()
        }
        ([first, ..], []) => format!("every model that it lists, at {}", place(first)),
        (all, some) => {
            let places: Vec<String> = all.iter().map(place).collect();
            format!("{}, at {}", some.join(", "), places.join(", "))
        }
    }
}
