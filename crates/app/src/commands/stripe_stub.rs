//! `anteroom stripe-stub`

use std::net::TcpListener;
use std::process::ExitCode;

use anteroom_stripe_stub::{Stub, StubOptions, WebhookTarget};
use anyhow::Context as _;
use secrecy::SecretString;
use url::Url;

use super::{runtime, say};
use crate::cli::StripeStubArgs;

/// Runs until SIGTERM or Ctrl-C.
pub(super) fn run(args: StripeStubArgs) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind((args.host.as_str(), args.port)).with_context(|| {
        format!(
            "cannot listen on {} port {}; --port takes another",
            args.host, args.port
        )
    })?;
    let address = listener.local_addr()?;
    let public_url = match args.public_url {
        Some(url) => url,
        None => Url::parse(&format!("http://{address}"))?,
    };
    let webhook = args.webhook_url.zip(args.webhook_secret);
    let told = webhook.as_ref().map_or("nobody".to_owned(), |(url, _)| url.to_string());
    let options = StubOptions {
        public_url: public_url.clone(),
        secret_key: SecretString::from(args.secret_key.clone()),
        webhook: webhook.map(|(url, secret)| WebhookTarget {
            url,
            secret: SecretString::from(secret),
        }),
        frame_ancestors: Vec::new(),
        journal: args.journal,
    };
    runtime()?.block_on(async {
        let stub = Stub::open(options)?;
        say(&format!(
            "stripe-stub, which takes no money, is ready.\n\n  API     {public_url}\n  Key     {}\n  Events  {told}",
            args.secret_key
        ));
        stub.serve(listener).await?;
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
