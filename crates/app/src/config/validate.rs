//! Rules over several keys, and what production refuses.

use anteroom_domain::billing::METER_CREDITS;
use anteroom_domain::chat::{Assistant, GUARDED_PARAMETERS, Known};
use anteroom_domain::protection::RoutePattern;
use anteroom_moderation::Rules;
use secrecy::{ExposeSecret, SecretString};

use super::ai::{ModerationAdapter, OnDisconnectName, ProviderKind};
use super::billing::{EntitlementSettings, PaymentProviderName, PlanSettings};
use super::errors::{ConfigErrors, Problem, Source};
use super::settings::{CookieSecure, MailTransport, RuleSettings, SameSite, Settings, Signup};

/// Characters a secret key has at least.
const SECRET_LENGTH: usize = 32;

/// Parts of the keys that examples on the internet carry. Compared in small letters.
const KNOWN_DEFAULTS: [&str; 8] = [
    "changeme",
    "change-me",
    "change_me",
    "change this",
    "changethis",
    "your-secret",
    "your_secret",
    "example",
];

#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Findings {
    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(key, &Source::Default, message));
    }

    fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// Refused in production, a warning in development.
    fn unsafe_in(&mut self, is_production: bool, key: &str, message: impl Into<String>) {
        if is_production {
            self.refuse(key, message);
        } else {
            self.warn(format!("{key}: {}", message.into()));
        }
    }
}

impl Settings {
    /// Checks the rules that a single key cannot break. Answers with warnings, or with all that is wrong.
    pub fn validate(&self) -> Result<Vec<String>, ConfigErrors> {
        let mut findings = Findings::default();
        self.check_secret(&mut findings);
        self.check_web(&mut findings);
        self.check_lockout(&mut findings);
        self.check_telemetry(&mut findings);
        self.check_rules(&mut findings);
        self.check_accounts(&mut findings);
        self.check_production(&mut findings);
        self.check_mail(&mut findings);
        self.check_ai(&mut findings);
        self.check_stripe(&mut findings);
        self.check_plans(&mut findings);
        self.check_moderation(&mut findings);
        if findings.problems.is_empty() {
            Ok(findings.warnings)
        } else {
            Err(findings.problems.into())
        }
    }

    fn check_secret(&self, findings: &mut Findings) {
        let Some(key) = &self.secret.key else {
            if self.is_production() {
                findings.refuse(
                    "secret.key",
                    "production needs one: set SECRET_KEY to what `anteroom secret` prints",
                );
            }
            return;
        };
        if key.expose_secret().chars().count() < SECRET_LENGTH {
            let message = format!("shorter than {SECRET_LENGTH} characters; `anteroom secret` makes a good one");
            findings.refuse("secret.key", message);
        } else if is_known_or_plain(key) {
            let message = "a known or plain text; `anteroom secret` makes a good one";
            findings.unsafe_in(self.is_production(), "secret.key", message);
        }
    }

    fn check_telemetry(&self, findings: &mut Findings) {
        if let Err(message) = self.telemetry.headers() {
            findings.refuse("telemetry.otlp_headers", message);
        }
        if self.telemetry.content {
            findings.warn(match self.telemetry.otlp_endpoint {
                Some(_) => {
                    "telemetry.content is on: what users write and models answer goes to the collector of traces"
                }
                None => "telemetry.content has no effect: telemetry.otlp_endpoint names no collector",
            });
        }
    }

    fn check_web(&self, findings: &mut Findings) {
        let is_http = self.server.public_url.scheme() == "http";
        if self.cookie.same_site == SameSite::None && !self.cookie_secure() {
            findings.refuse(
                "cookie.same_site",
                "browsers take `none` only with a secure cookie: the public URL must be https",
            );
        }
        if self.cookie.secure == CookieSecure::False && !(is_http && self.is_loopback()) {
            let message = "`false` sends sessions in the clear; it is for http on this machine only";
            findings.unsafe_in(self.is_production(), "cookie.secure", message);
        }
        if !self.is_production() {
            return;
        }
        if !self.knows_public_url() {
            findings.warn("server.public_url is not set: links in mails cannot work, and the cookie is taken to travel over https");
        } else if is_http && !self.is_loopback() {
            findings.warn("server.public_url is http: passwords and sessions travel in the clear; put https in front");
        }
    }

    fn check_accounts(&self, findings: &mut Findings) {
        if self.accounts.require_verified_email && self.mail.transport == MailTransport::None {
            findings.refuse(
                "accounts.require_verified_email",
                "nobody could sign in: no mail leaves; set SMTP_URL, or mail.transport",
            );
        }
    }

    fn check_lockout(&self, findings: &mut Findings) {
        let p = &self.protection;
        if p.lockout_longest_delay_seconds < p.lockout_first_delay_seconds {
            findings.refuse(
                "protection.lockout_longest_delay_seconds",
                "shorter than the first delay",
            );
        }
        if p.lockout_longest_delay_seconds > p.lockout_forget_hours.saturating_mul(3600) {
            findings.refuse(
                "protection.lockout_forget_hours",
                "failures would be forgotten before the longest delay is over",
            );
        }
    }

    fn check_production(&self, findings: &mut Findings) {
        if !self.is_production() {
            return;
        }
        if self.passwords.bcrypt_cost < 10 {
            findings.refuse("passwords.bcrypt_cost", "production needs 10 or more");
        }
        if !self.protection.enabled {
            findings.refuse("protection.enabled", "production keeps its limits on");
        }
        if self.mail.transport == MailTransport::Folder {
            findings.refuse(
                "mail.transport",
                "`folder` keeps mails, with the links in them, as files and sends none: not in production",
            );
        }
        if self.mail.transport == MailTransport::None && self.accounts.signup == Signup::Open {
            findings.warn("mail.transport is none: no mail leaves, so nobody can be told of a changed password");
        }
        if self.billing.provider == PaymentProviderName::StripeStub {
            findings.warn("billing.provider is stripe-stub: anyone gets any plan for nothing");
        }
    }

    fn check_mail(&self, findings: &mut Findings) {
        let mail = &self.mail;
        if mail.transport != MailTransport::Smtp {
            if mail.smtp_url.is_some() {
                findings.warn("mail.smtp_url is set, but mail.transport sends nothing there");
            }
            return;
        }
        let Some(server) = self.mail_server() else {
            findings.refuse(
                "mail.smtp_url",
                "mail.transport is smtp: set SMTP_URL to the mail server",
            );
            return;
        };
        if server.exposes_password() {
            findings.warn(format!(
                "mail.smtp_url: the password may travel in the clear to {}; use smtps:// or ?tls=required",
                server.server()
            ));
        }
        if self.server.frontend_url.is_none() {
            findings.warn(format!(
                "links in mails lead to {}, where Anteroom has no pages for them: set FRONTEND_URL",
                self.server.public_url
            ));
        }
        if mail.from.trim_end_matches('>').ends_with("@localhost") {
            findings.warn("mail.from is at localhost: mail servers will refuse it or take it for spam");
        }
    }

    fn check_ai(&self, findings: &mut Findings) {
        let ai = &self.ai;
        self.check_models(findings);
        self.check_assistants(findings);
        if !ai.models.is_empty() && ai.openai_base_url.is_none() && ai.providers.is_empty() {
            findings.warn(
                "ai.models is set without a provider (OPENAI_API_KEY or OPENAI_BASE_URL): only `echo` is offered",
            );
        }
        if let Some(name) = repeated(ai.models.iter()) {
            findings.refuse("ai.models", format!("`{name}` is there twice"));
        }
        if let Some(name) = repeated(ai.prices.iter().map(|price| &price.model)) {
            findings.refuse("ai.prices", format!("`{name}` has two prices"));
        }
        if ai.idle_timeout_ms > ai.total_timeout_ms || ai.first_token_timeout_ms > ai.total_timeout_ms {
            findings.refuse(
                "ai.total_timeout_ms",
                "shorter than the timeout for the first word or between two pieces",
            );
        }
        let has_key = ai.openai_api_key.is_some();
        let is_http = ai.openai_base_url.as_ref().is_some_and(|url| url.scheme() == "http");
        if self.is_production() && has_key && is_http {
            findings.warn("ai.openai_base_url is http: the provider's key travels in the clear");
        }
        if self.chat.max_message_bytes > self.server.max_body_bytes {
            findings.refuse("chat.max_message_bytes", "more than server.max_body_bytes lets through");
        }
    }

    fn check_models(&self, findings: &mut Findings) {
        let ai = &self.ai;
        if let Some(name) = repeated(ai.providers.iter().map(|provider| &provider.name)) {
            findings.refuse("ai.providers", format!("two providers are called `{name}`"));
        }
        for provider in &ai.providers {
            let name = &provider.name;
            if let (Some(variable), None) = (&provider.api_key_variable, &provider.api_key) {
                let message = format!("`{name}`: neither the variable {variable} nor {variable}_FILE is set");
                findings.refuse("ai.providers", message);
            }
            if provider.kind == ProviderKind::Azure && provider.base_url.is_none() {
                findings.refuse("ai.providers", format!("`{name}`: azure needs its base_url"));
            }
            if provider.kind != ProviderKind::Azure && provider.api_version.is_some() {
                findings.refuse("ai.providers", format!("`{name}`: only azure has an api_version"));
            }
            if provider.on_disconnect() == OnDisconnectName::Cancel && provider.drain_seconds.is_some() {
                let message = format!("`{name}`: drain_seconds is for on_disconnect = \"drain\"");
                findings.refuse("ai.providers", message);
            }
            if provider.drain_seconds == Some(0) {
                findings.refuse("ai.providers", format!("`{name}`: drain_seconds is at least 1"));
            }
            let takes_no_user = matches!(provider.kind, ProviderKind::Gemini | ProviderKind::Echo);
            if takes_no_user && provider.send_user == Some(true) {
                let message = format!("`{name}`: its kind cannot be told who asks; leave send_user away");
                findings.refuse("ai.providers", message);
            }
            let is_http = provider.base_url.as_ref().is_some_and(|url| url.scheme() == "http");
            if self.is_production() && provider.api_key.is_some() && is_http {
                findings.warn(format!("ai.providers: `{name}` is http: its key travels in the clear"));
            }
        }
        if let Some(name) = repeated(ai.aliases.iter().map(|alias| &alias.name).chain(&ai.models)) {
            findings.refuse(
                "ai.aliases",
                format!("`{name}` is there twice, or in ai.models as well"),
            );
        }
        let providers = self.model_providers();
        if let ([first, _, ..], []) = (providers.as_slice(), ai.aliases.as_slice()) {
            findings.warn(format!(
                "ai.providers: only the models of `{}` are offered; name those of the others in ai.aliases",
                first.name
            ));
        }
        let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
        let plans: Vec<&str> = self.billing.plans.iter().map(|plan| plan.key.as_str()).collect();
        let known = Known {
            providers: &names,
            plans: &plans,
        };
        for alias in &ai.aliases {
            for mistake in alias.alias().mistakes(known) {
                findings.refuse("ai.aliases", mistake.detail);
            }
            for target in &alias.targets {
                let half = target.input_usd_per_million.is_some() != target.output_usd_per_million.is_some();
                let more = [target.cached_input_usd_per_million, target.cache_write_usd_per_million];
                if half || (more.iter().any(Option::is_some) && target.price().is_none()) {
                    findings.refuse(
                        "ai.aliases",
                        format!(
                            "`{}`: a price is input_usd_per_million and output_usd_per_million",
                            alias.name
                        ),
                    );
                }
            }
        }
    }

    /// An assistant that could never answer refuses to start, by its name.
    fn check_assistants(&self, findings: &mut Findings) {
        let ai = &self.ai;
        if let Some(name) = repeated(ai.assistants.iter().map(|assistant| &assistant.name)) {
            findings.refuse("ai.assistants", format!("two assistants are called `{name}`"));
        }
        let mut models: Vec<&str> = ai.aliases.iter().map(|alias| alias.name.as_str()).collect();
        models.extend(ai.models.iter().map(String::as_str));
        if let Some(name) = models
            .iter()
            .find(|name| !ai.assistants.is_empty() && Assistant::named(name).is_some())
        {
            let message = format!("`{name}` looks like an assistant's name; call the model otherwise");
            findings.refuse("ai.aliases", message);
        }
        if ai.aliases.is_empty() && self.model_providers().iter().any(|p| p.kind == ProviderKind::Echo) {
            models = vec!["echo"];
        }
        for settings in &ai.assistants {
            let name = &settings.name;
            if settings.instructions.is_some() && settings.instructions_file.is_some() {
                let message = format!("`{name}`: give `instructions` or `instructions_file`, not both");
                findings.refuse("ai.assistants", message);
            }
            // A file that cannot be read has been named already.
            let unread = settings.instructions_file.is_some() && settings.read_instructions.is_none();
            if let (Err(e), false) = (settings.assistant().check(), unread) {
                findings.refuse("ai.assistants", e.to_string());
            }
            // Without a list of the operator's the server says later what it has. An admin may have stored the model, or
            // yet do so; until then the assistant is nobody's.
            if !models.is_empty() && !models.contains(&settings.model.as_str()) {
                findings.warn(format!(
                    "ai.assistants: `{name}`: the configuration has no model `{}`, so it answers only while that is stored \
                     (/v1/admin/models); there are: {}",
                    settings.model,
                    models.join(", ")
                ));
            }
            let is_unknown = |key: &&String| !self.billing.plans.iter().any(|plan| plan.key == **key);
            for key in settings.plans.iter().flatten().filter(is_unknown) {
                let plans: Vec<&str> = self.billing.plans.iter().map(|plan| plan.key.as_str()).collect();
                let message = format!("`{name}`: there is no plan `{key}`; there are: {}", plans.join(", "));
                findings.refuse("ai.assistants", message);
            }
        }
    }

    fn check_moderation(&self, findings: &mut Findings) {
        let m = &self.moderation;
        if let Some(name) = repeated(m.rules.iter().map(|rule| &rule.name)) {
            findings.refuse("moderation.rules", format!("two rules are called `{name}`"));
        }
        // Each by itself, so that all that are wrong are named.
        for rule in &m.rules {
            if let Err(e) = Rules::new(&[rule.rule()]) {
                findings.refuse("moderation.rules", e.to_string());
            }
        }
        match m.adapter {
            ModerationAdapter::Rules if m.rules.is_empty() => {
                findings.refuse("moderation.rules", "moderation.adapter is rules, and there are none");
            }
            ModerationAdapter::None | ModerationAdapter::OpenAi if !m.rules.is_empty() => {
                findings.warn("moderation.rules are set, but moderation.adapter is not rules: nobody heeds them");
            }
            ModerationAdapter::OpenAi if self.moderation_key().is_none() && m.openai_base_url.is_none() => {
                let message = "moderation.adapter is openai: set it, or OPENAI_API_KEY";
                findings.refuse("moderation.openai_api_key", message);
            }
            _ => {}
        }
        for threshold in m.openai_thresholds.iter().filter(|it| !(0.0..=1.0).contains(&it.score)) {
            let message = format!("`{}`: a score is a number from 0 to 1", threshold.category);
            findings.refuse("moderation.openai_thresholds", message);
        }
    }

    fn check_stripe(&self, findings: &mut Findings) {
        let stripe = &self.stripe;
        if self.billing.provider != PaymentProviderName::Stripe {
            if stripe.secret_key.is_some() {
                findings.warn("stripe.secret_key is set, but billing.provider is not stripe: nothing is sold there");
            }
            return;
        }
        if stripe.secret_key.is_none() {
            findings.refuse("stripe.secret_key", "billing.provider is stripe: set STRIPE_SECRET_KEY");
            return;
        }
        match stripe.live() {
            None => findings.refuse(
                "stripe.secret_key",
                "not one of Stripe's: they begin with sk_live_, sk_test_, rk_live_ or rk_test_",
            ),
            Some(true) if !self.is_production() => {
                findings.refuse(
                    "stripe.secret_key",
                    "a live key takes real money: it is for ANTEROOM_ENV=production",
                );
            }
            Some(false) if self.is_production() => {
                findings.warn("stripe.secret_key is a test key: nobody pays");
            }
            Some(_) => {}
        }
        if stripe.webhook_secrets().is_empty() {
            let message = "no event can be told from a forged one, so nothing that is bought takes effect: set \
                           STRIPE_WEBHOOK_SECRET to the signing secret of the webhook endpoint";
            findings.unsafe_in(self.is_production(), "stripe.webhook_secret", message);
        }
    }

    fn check_plans(&self, findings: &mut Findings) {
        let billing = &self.billing;
        if let Some(key) = repeated(billing.plans.iter().map(|plan| &plan.key)) {
            findings.refuse("billing.plans", format!("two plans are called `{key}`"));
        }
        if let Some(key) = repeated(billing.credit_packs.iter().map(|pack| &pack.key)) {
            findings.refuse("billing.credit_packs", format!("two packs are called `{key}`"));
        }
        for pack in &billing.credit_packs {
            if pack.credits < 1 || pack.amount < 1 || pack.expires_days == Some(0) {
                let message = format!("`{}`: credits, amount and expires_days are 1 or more", pack.key);
                findings.refuse("billing.credit_packs", message);
            }
        }
        let takes = |plan: &PlanSettings| plan.entitlements.iter().any(|it| it.key == METER_CREDITS);
        if !billing.credit_packs.is_empty() && !billing.plans.iter().any(takes) {
            findings.warn("billing.credit_packs: no plan has `credits`, so nobody can buy any");
        }
        // A feature that no plan has would shut everybody out.
        for (place, asked) in billing.requires.iter().enumerate() {
            let granted = |plan: &PlanSettings| plan.entitlements.iter().any(|it| it.switches_on(&asked.feature));
            if !billing.plans.iter().any(granted) {
                let (operation, feature) = (&asked.operation, &asked.feature);
                let message = format!(
                    "[{place}]: `{operation}` asks for `{feature}`, and no plan has a boolean entitlement of this name with `value` = true"
                );
                findings.refuse("billing.requires", message);
            }
        }
        for plan in &billing.plans {
            for message in plan.mistakes() {
                findings.refuse("billing.plans", format!("`{}`: {message}", plan.key));
            }
            // What a plan does not grant is refused.
            if !plan.entitlements.iter().any(EntitlementSettings::lets_call) {
                findings.warn(format!(
                    "billing.plans: `{}` has no entitlement `messages` or `credits`, so none of its models answers",
                    plan.key
                ));
            }
        }
        match billing.plans.iter().find(|plan| plan.key == billing.default_plan) {
            None => findings.refuse(
                "billing.default_plan",
                format!("there is no plan `{}`", billing.default_plan),
            ),
            Some(plan) if plan.by_agreement || !plan.prices.is_empty() => {
                findings.refuse(
                    "billing.default_plan",
                    "everyone without a subscription gets it, so it cannot cost anything",
                );
            }
            Some(_) => {}
        }
    }
}

impl Settings {
    fn check_rules(&self, findings: &mut Findings) {
        let rules = &self.protection.rules;
        if let Some(name) = repeated(rules.iter().map(|rule| &rule.name)) {
            findings.refuse("protection.rules", format!("two rules are called `{name}`"));
        }
        for rule in rules {
            if let Some(mistake) = rule.mistake() {
                findings.refuse("protection.rules", format!("`{}`: {mistake}", rule.name));
            }
        }
    }
}

impl RuleSettings {
    fn mistake(&self) -> Option<String> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !self.name.chars().all(in_name) {
            return Some("a name has letters, digits, - and _ only".to_owned());
        }
        if self.limit == 0 {
            return Some("`limit` is 1 or more".to_owned());
        }
        let pattern = match RoutePattern::parse(&self.route) {
            Ok(pattern) => pattern,
            Err(e) => return Some(e.to_string()),
        };
        let covers = |route: &anteroom_http::Route| pattern.covers(route.method.as_str(), route.path);
        let none = !anteroom_http::routes().iter().any(covers);
        none.then(|| format!("there is no route `{}`; docs/API.md lists those there are", self.route))
    }
}

/// What every call has.
const REQUIRED: [&str; 3] = ["model", "messages", "input"];

impl PlanSettings {
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.price_mistakes();
        mistakes.extend(self.overage_mistakes());
        for (i, this) in self.entitlements.iter().enumerate() {
            let mut earlier = self.entitlements[..i].iter().filter(|it| it.key == this.key);
            // What is counted may be counted in several windows.
            if earlier.any(|it| it.window == this.window || it.window.is_none() || this.window.is_none()) {
                mistakes.push(format!("two entitlements are called `{}`", this.key));
            }
        }
        let wrong = self
            .entitlements
            .iter()
            .filter_map(|it| Some(format!("entitlement `{}`: {}", it.key, it.mistake()?)));
        mistakes.extend(wrong);
        if self.entitlements.iter().filter(|it| it.key == METER_CREDITS).count() > 1 {
            mistakes.push("credits are included in one window only".to_owned());
        }
        let known = |name: &&String| GUARDED_PARAMETERS.contains(&name.as_str());
        for name in self.allowed_parameters.iter().filter(|name| !known(name)) {
            let guarded = GUARDED_PARAMETERS.join(", ");
            mistakes.push(format!(
                "allowed_parameters: `{name}` is not refused anyway; what can be allowed: {guarded}"
            ));
        }
        if let Some(name) = self
            .refused_parameters
            .iter()
            .find(|name| REQUIRED.contains(&name.as_str()))
        {
            mistakes.push(format!("refused_parameters: no call can be made without `{name}`"));
        }
        let odd = |name: &&String| name.chars().any(char::is_uppercase);
        for name in self.refused_parameters.iter().filter(odd) {
            mistakes.push(format!(
                "refused_parameters: write `{name}` in lower case; however it is sent, it is refused"
            ));
        }
        if self.max_choices == Some(0) {
            mistakes.push("`max_choices` is 1 or more".to_owned());
        }
        mistakes
    }
}

fn is_known_or_plain(key: &SecretString) -> bool {
    let key = key.expose_secret().to_lowercase();
    let mut characters: Vec<char> = key.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    characters.len() < 8 || KNOWN_DEFAULTS.iter().any(|known| key.contains(known))
}

fn repeated<'a>(mut names: impl Iterator<Item = &'a String> + Clone) -> Option<&'a String> {
    let all = names.clone();
    names.find(|name| all.clone().filter(|other| other == name).count() > 1)
}
