//! What is wrong is named, all of it, with its place and never with a secret.

use secrecy::ExposeSecret as _;

use super::*;

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let said = messages(load_file(
        "unknown",
        "enviroment = 'x'\n[server]\nprot = 1\n[sever]\nport = 1\n",
    ));
    let all = said.join("\n");
    assert_eq!(said.len(), 3, "{all}");
    for part in [
        "server.prot (from ",
        "the nearest known one is `server.port`",
        "sever (from ",
        "section; the nearest known one is `server`",
        "the nearest known one is `env`",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    let said = messages(load_file("one-of-many", "[[ai.provider]]\nname = 'a'\n"));
    assert!(said[0].contains("the nearest known one is `ai.providers`"), "{said:?}");
    assert_eq!(
        messages(load_env(&[("ANTEROOM__SERVER__PROT", "1")])),
        ["server.prot (from ANTEROOM__SERVER__PROT): unknown key; the nearest known one is `server.port`"]
    );
}

#[test]
fn an_assistant_that_could_never_answer_is_named_with_what_is_wrong() {
    let folder = Folder::new("assistants");
    let empty = folder.write("empty.txt", " \n");
    let config = format!(
        "[ai]\nopenai_api_key = 'k'\nmodels = ['small']\n\
         [[ai.assistants]]\nname = 'a'\nmodel = 'huge'\ninstructions = 'x'\nplans = ['gold']\n\
         [[ai.assistants]]\nname = 'a'\nmodel = 'small'\ninstructions = 'y'\n\n\
         [[ai.assistants]]\nname = 'b'\nmodel = 'small'\ninstructions_file = '{0}'\n\
         [[ai.assistants]]\nname = 'c'\nmodel = 'small'\ninstructions_file = '/nowhere/c.txt'\n\
         [[ai.assistants]]\nname = 'd'\nmodel = 'small'\ninstructions = 'x'\ntemperature = 3\n",
        empty.display()
    );
    let all = messages(load_file("assistants-file", &config)).join("\n");
    for part in [
        "two assistants are called `a`",
        "`a`: there is no plan `gold`; there are: free, pro",
        "`b`: the instructions are empty",
        "`c`: cannot read the file /nowhere/c.txt",
        "`d`: temperature is a number from 0 to 2",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("`c`: the instructions are empty"), "{all}");
}

#[test]
fn an_assistant_whose_model_is_stored_at_run_time_may_start() {
    let config = "[ai]\nopenai_api_key = 'k'\nmodels = ['small', 'large']\n\
         [[ai.assistants]]\nname = 'a'\nmodel = 'huge'\ninstructions = 'x'\n\
         [[ai.assistants]]\nname = 'b'\nmodel = 'large'\ninstructions = 'x'\n";
    let warnings = load_file("assistants-stored", config).unwrap().warnings;
    let of_assistants: Vec<&String> = warnings.iter().filter(|w| w.contains("ai.assistants")).collect();
    assert_eq!(
        of_assistants,
        [
            "ai.assistants: `a`: the configuration has no model `huge`, so it answers only while that is stored \
          (/v1/admin/models); there are: small, large"
        ]
    );
}

#[test]
fn a_variable_with_one_underscore_too_few_is_warned_of() {
    let loaded = load_env(&[
        ("ANTEROOM_SERVER__PORT", "1"),
        ("ANTEROOM_PORT_7860_TCP", "tcp://10.0.0.1:7860"),
    ])
    .unwrap();
    assert_eq!(
        loaded.warnings,
        ["ANTEROOM_SERVER__PORT is not read: did you mean ANTEROOM__SERVER__PORT?"]
    );
}

#[test]
fn all_problems_are_reported_at_once_with_who_said_it() {
    let said = messages(load_env(&[
        ("PORT", "abc"),
        ("METRICS_PORT", "70000"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("SECRET_KEY", "short"),
    ]));
    let all = said.join("\n");
    assert_eq!(said.len(), 4, "{all}");
    assert!(
        all.contains("server.port (from PORT): found \"abc\", expected an integer from 0 to 65535"),
        "{all}"
    );
    assert!(all.contains("metrics.port (from METRICS_PORT): found 70000"), "{all}");
    assert!(
        all.contains("database.url (from DATABASE_URL)") && all.contains("sqlite://relative/path"),
        "{all}"
    );
    assert!(
        all.contains("secret.key (from SECRET_KEY): shorter than 32 characters"),
        "{all}"
    );
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn a_broken_file_is_named_with_its_line_but_never_quoted() {
    let said = messages(load_file(
        "broken",
        "[server]\nport = 1\n[secret]\nkey = \"hunter2hunter2\n",
    ));
    assert!(
        said[0].contains("a.toml: line 4: ") && !said[0].contains("hunter2"),
        "{said:?}"
    );
    let folder = Folder::new("broken-dotenv");
    let dotenv = folder.write(".env", "PORT=1\nSECRET_KEY=hunter2 hunter2\n");
    let said = messages(load(LoadInput {
        dotenv: Some(dotenv),
        ..LoadInput::default()
    }));
    assert!(
        said[0].contains("the line after PORT") && !said[0].contains("hunter2"),
        "{said:?}"
    );
}

#[test]
fn a_value_of_the_wrong_type_in_a_file_is_named() {
    let said = messages(load_file("types", "[server]\nport = '80'\ntrusted_proxies = '10.0.0.1'\n[server.host]\na = 1\n[ai]\nprices = [{ modell = 'm' }]\n")).join("\n");
    for part in [
        "server.port",
        "found \"80\"",
        "server.trusted_proxies",
        "server.host",
        "found a table",
        "[0]: unknown key `modell`; the nearest known one is `model`",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    let plan =
        |words: &str| format!("[[billing.plans]]\nkey = 'free'\nname = 'F'\nversion = 1\nmodels = 'all'\n{words}\n");
    let refused = |name: &str, text: &str, expected: &str| {
        let said = messages(load_file(name, text)).join("\n");
        assert!(said.contains(expected), "{expected} in {said}");
    };
    assert!(load_file("plan", &plan("")).is_ok());
    refused("twice", &plan("").repeat(2), "two plans are called `free`");
    refused(
        "paid",
        &plan("prices = [{ amount = 1, currency = 'usd', interval = 'month' }]"),
        "cannot cost",
    );
    refused(
        "default",
        &format!("{}[billing]\n", plan("")).replace("'free'", "'basic'"),
        "there is no plan `free`",
    );
    refused(
        "boolean",
        &plan("entitlements = [{ key = 'v', kind = 'boolean' }]"),
        "`v`: boolean takes",
    );
    refused(
        "static",
        &plan("entitlements = [{ key = 'v', kind = 'static', limit = 3 }]"),
        "`v`: static takes",
    );
    refused(
        "metered",
        &plan("entitlements = [{ key = 'v', kind = 'metered', limit = 3 }]"),
        "`v`: metered takes",
    );
    refused(
        "same",
        &plan("entitlements = [{ key = 'v', kind = 'static', value = 3 }, { key = 'v', kind = 'static', value = 4 }]"),
        "two entitlements",
    );
    for (name, text, expected) in [
        (
            "allowed",
            "allowed_parameters = ['seed']",
            "`seed` is not refused anyway; what can be allowed: service_tier",
        ),
        (
            "needed",
            "refused_parameters = ['messages']",
            "no call can be made without `messages`",
        ),
        (
            "case",
            "refused_parameters = ['LogProbs']",
            "write `LogProbs` in lower case",
        ),
        ("no-choice", "max_choices = 0", "`max_choices` is 1 or more"),
        ("choices", "max_choices = 17", "from 0 to 16"),
    ] {
        refused(name, &plan(text), expected);
    }
}

#[test]
fn other_contradictions_are_refused() {
    for (name, value) in [
        ("AI_MODELS", "a,b,a"),
        ("ANTEROOM__AI__TOTAL_TIMEOUT_MS", "1000"),
        ("ANTEROOM__CHAT__MAX_MESSAGE_BYTES", "10485760"),
    ] {
        let extra = [
            (name, value),
            ("OPENAI_API_KEY", "x"),
            ("ANTEROOM__SERVER__MAX_BODY_BYTES", "2048000"),
        ];
        assert!(load_env(&extra).is_err(), "{name}");
    }
}

/// A number that passes its range but not its field would be reported without a key.
#[test]
fn the_ends_of_every_range_fit_the_settings() {
    for key in Schema::read().unwrap().keys {
        let ends = match key.kind {
            schema::Kind::Integer(least, most) => [least.to_string(), most.to_string()],
            schema::Kind::Float(least, most) => [least.to_string(), most.to_string()],
            _ => continue,
        };
        for end in ends {
            if let Err(errors) = load_env(&[(&key.own_variable(), &end)]) {
                assert!(
                    errors.problems.iter().all(|problem| !problem.key.is_empty()),
                    "{errors}"
                );
            }
        }
    }
}

#[test]
fn nothing_but_its_variable_decides_between_development_and_production() {
    let expected = |source: &str| format!("env (from {source}): only the variable ANTEROOM_ENV sets it");
    let said = messages(load_file("env-in-file", "env = 'development'\n"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("only the variable ANTEROOM_ENV sets it"), "{said:?}");
    assert_eq!(
        messages(load_env(&[
            ("ANTEROOM__ENV", "development"),
            ("ANTEROOM_ENV", "production")
        ]))[0],
        expected("ANTEROOM__ENV")
    );
}

#[test]
fn what_is_counted_may_have_several_windows_and_money_is_in_dollars() {
    let plan = |entitlements: &str| {
        format!(
            "[[billing.plans]]\nkey = 'free'\nname = 'F'\nversion = 1\nmodels = 'all'\nentitlements = [{entitlements}]\n"
        )
    };
    let day = "{ key = 'tokens', kind = 'metered', limit = 5, window = 'day' }";
    let month = day.replace("day", "month");
    assert!(load_file("windows", &plan(&format!("{day}, {month}"))).is_ok());
    for (name, entitlements, expected) in [
        (
            "same-window",
            format!("{day}, {day}"),
            "two entitlements are called `tokens`",
        ),
        (
            "two-kinds",
            format!("{day}, {{ key = 'tokens', kind = 'boolean', value = true }}"),
            "two entitlements are called `tokens`",
        ),
        (
            "cost",
            day.replace("tokens", "cost"),
            "limited in US dollars, by `limit_usd`",
        ),
        (
            "dollars",
            day.replace("limit", "limit_usd"),
            "only `cost` is limited by `limit_usd`",
        ),
        (
            "window",
            day.replace("day", "week"),
            "expected one of minute, day, month",
        ),
    ] {
        let said = messages(load_file(name, &plan(&entitlements))).join("\n");
        assert!(said.contains(expected), "{expected} in {said}");
    }
}

#[test]
fn rules_that_cover_nothing_are_refused() {
    let rule = |route: &str| {
        format!("[[protection.rules]]\nname = 'r'\nroute = '{route}'\nper = 'user'\nlimit = 1\nwindow = 'day'\n")
    };
    for route in ["POST /v1/chat/completions", "/v1/auth/*", "*", "/v1/me/api-keys/{id}"] {
        assert!(load_file("rule", &rule(route)).is_ok(), "{route}");
    }
    for (name, text, expected) in [
        ("twice", rule("*").repeat(2), "two rules are called `r`"),
        ("no-route", rule("/v1/chat/completion"), "there is no route"),
        ("no-method", rule("DELETE /v1/plans"), "there is no route"),
        ("no-path", rule("chat"), "is no route"),
        (
            "named",
            rule("*").replace("'r'", "'a rule'"),
            "letters, digits, - and _",
        ),
        (
            "none",
            rule("*").replace("limit = 1", "limit = 0"),
            "`limit` is 1 or more",
        ),
        (
            "per",
            rule("*").replace("'user'", "'team'"),
            "one of user, api_key, address",
        ),
    ] {
        let said = messages(load_file(name, &text)).join("\n");
        assert!(said.contains(expected), "{expected} in {said}");
    }
}

#[test]
fn a_plan_that_lets_nobody_ask_a_model_is_warned_of() {
    let text = "[[billing.plans]]\nkey = 'free'\nname = 'Free'\nversion = 1\nmodels = 'all'\n";
    let warnings = load_file("no-messages", text).unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("`free` has no entitlement `messages`")),
        "{warnings:?}"
    );
}

const PROVIDERS: &str =
    r#"[{ name = "a", kind = "openai", base_url = "https://a.example/v1", api_key_variable = "A_KEY" }]"#;

#[test]
fn providers_and_aliases_are_read_with_their_keys() {
    let aliases = r#"[{ name = "fast", targets = [{ provider = "a", model = "m", weight = 3, input_usd_per_million = 1, output_usd_per_million = 2 }, { provider = "openai", model = "n" }], plans = ["pro"], max_output_tokens = 50 }]"#;
    let settings = load_env(&[
        ("ANTEROOM__AI__PROVIDERS", PROVIDERS),
        ("ANTEROOM__AI__ALIASES", aliases),
        ("A_KEY", "sk-of-a"),
        ("OPENAI_API_KEY", "sk-of-openai"),
    ])
    .unwrap()
    .settings;
    let providers = settings.model_providers();
    let key = |i: usize| providers[i].api_key.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!(
        (providers[0].name.as_str(), key(0)),
        ("openai", "sk-of-openai".to_owned())
    );
    assert_eq!((providers[1].name.as_str(), key(1)), ("a", "sk-of-a".to_owned()));
    let alias = settings.ai.aliases[0].alias();
    assert_eq!(
        (alias.max_output_tokens, alias.open_to("pro"), alias.open_to("free")),
        (Some(50), true, false)
    );
    assert!(alias.targets[0].price.is_some() && alias.targets[1].price.is_none());
    assert!(!format!("{settings:?}").contains("sk-of-a"));
}

#[test]
fn providers_and_aliases_that_cannot_work_are_refused() {
    let said = messages(load_env(&[("ANTEROOM__AI__PROVIDERS", PROVIDERS)]));
    assert!(
        said[0].contains("neither the variable A_KEY nor A_KEY_FILE is set"),
        "{said:?}"
    );
    for (aliases, part) in [
        (
            r#"[{ name = "x", targets = [{ provider = "b", model = "m" }] }]"#,
            "`b`, which is not configured; there are: a",
        ),
        (r#"[{ name = "x", targets = [] }]"#, "1 to 16 targets"),
        (
            r#"[{ name = "x", plans = ["gold"], targets = [{ provider = "a", model = "m" }] }]"#,
            "there is no plan `gold`; there are: free, pro, business, enterprise",
        ),
        (
            r#"[{ name = "x", targets = [{ provider = "a", model = "m", input_usd_per_million = 1 }] }]"#,
            "a price is",
        ),
        (
            r#"[{ name = "x", targets = [{ provider = "a", model = "m" }] }, { name = "x", targets = [{ provider = "a", model = "n" }] }]"#,
            "`x` is there twice",
        ),
        (
            r#"[{ name = "x", target = [] }]"#,
            "unknown key `target`; the nearest known one is `targets`",
        ),
    ] {
        let said = messages(load_env(&[
            ("ANTEROOM__AI__PROVIDERS", PROVIDERS),
            ("A_KEY", "sk-of-a"),
            ("ANTEROOM__AI__ALIASES", aliases),
        ]));
        assert!(said.join("\n").contains(part), "{part} in {said:?}");
    }
    let odd = r#"[{ name = "a", kind = "oracle", base_url = "ftp://a" }]"#;
    let said = messages(load_env(&[("ANTEROOM__AI__PROVIDERS", odd)])).join("\n");
    for part in [
        "one of openai, azure, anthropic, gemini, echo",
        "an address that begins with http:// or https://",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn what_becomes_of_answers_and_who_is_told_of_is_set_per_provider() {
    let load = |more: &str| {
        let providers = format!(r#"[{{ name = "a", kind = "anthropic"{more} }}]"#);
        load_env(&[("ANTEROOM__AI__PROVIDERS", &providers)])
    };
    let provider = |more: &str| load(more).unwrap().settings.ai.providers.remove(0);
    let usual = provider("");
    assert_eq!(
        (usual.on_disconnect(), usual.drain_seconds, usual.send_user),
        (OnDisconnectName::Cancel, None, None)
    );
    let set = provider(r#", on_disconnect = "drain", drain_seconds = 7, send_user = false"#);
    assert_eq!(
        (set.on_disconnect(), set.drain_seconds, set.send_user),
        (OnDisconnectName::Drain, Some(7), Some(false))
    );
    // Where cancelling does not stop the bill, the answer is read on unless somebody says otherwise.
    let gemini = |more: &str| {
        let providers = format!(r#"[{{ name = "g", kind = "gemini"{more} }}]"#);
        let settings = load_env(&[("ANTEROOM__AI__PROVIDERS", &providers)]).unwrap().settings;
        settings.ai.providers[0].on_disconnect()
    };
    assert_eq!(gemini(""), OnDisconnectName::Drain);
    assert_eq!(gemini(", drain_seconds = 5"), OnDisconnectName::Drain);
    assert_eq!(gemini(r#", on_disconnect = "cancel""#), OnDisconnectName::Cancel);
    for (more, part) in [
        (r#", on_disconnect = "wait""#, "one of cancel, drain"),
        (r#", on_disconnect = "drain", drain_seconds = 0"#, "at least 1"),
        (
            r#", on_disconnect = "drain", drain_seconds = 3601"#,
            "an integer from 0 to 3600",
        ),
        (", drain_seconds = 5", "is for on_disconnect = \"drain\""),
        (r#", send_user = "yes""#, "true or false"),
    ] {
        let said = messages(load(more)).join("\n");
        assert!(said.contains(part), "{part} in {said}");
    }
    let gemini = r#"[{ name = "g", kind = "gemini", send_user = true }]"#;
    let said = messages(load_env(&[("ANTEROOM__AI__PROVIDERS", gemini)])).join("\n");
    assert!(said.contains("cannot be told who asks"), "{said}");
}

#[test]
fn a_providers_key_may_come_from_a_file_and_one_in_place_of_its_variable_is_not_repeated() {
    let folder = Folder::new("provider-key");
    let path = folder.write("key", "sk-of-a-file\n");
    let load = |file: &str| load_env(&[("ANTEROOM__AI__PROVIDERS", PROVIDERS), ("A_KEY_FILE", file)]);
    let settings = load(path.to_str().unwrap()).unwrap().settings;
    assert_eq!(
        settings.ai.providers[0].api_key.as_ref().unwrap().expose_secret(),
        "sk-of-a-file"
    );
    let said = messages(load("/nowhere/key")).join("\n");
    assert!(said.contains("`a`: cannot read the file /nowhere/key"), "{said}");
    for pasted in ["sk-ant-secret-123", "sk_secret_123"] {
        let providers = PROVIDERS.replace("A_KEY", pasted);
        let said = messages(load_env(&[("ANTEROOM__AI__PROVIDERS", &providers)])).join("\n");
        assert!(
            said.contains("api_key_variable: expected the name of a variable"),
            "{said}"
        );
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn providers_whose_models_nobody_can_reach_are_warned_of() {
    let providers = r#"[{ name = "a", kind = "echo" }, { name = "b", kind = "echo" }]"#;
    let warnings = |aliases: &str| {
        let env = [
            ("ANTEROOM__AI__PROVIDERS", providers),
            ("ANTEROOM__AI__ALIASES", aliases),
        ];
        load_env(&env).unwrap().warnings.join("\n")
    };
    assert!(warnings("[]").contains("only the models of `a` are offered"));
    let aliases = r#"[{ name = "x", targets = [{ provider = "b", model = "echo" }] }]"#;
    assert_eq!(warnings(aliases), "");
}

#[test]
fn a_feature_that_nobody_could_have_is_named_with_what_asks_for_it() {
    let plans = "[[billing.plans]]\nkey = 'free'\nname = 'Free'\nversion = 1\nmodels = 'all'\nentitlements = [\
                 { key = 'embed', kind = 'boolean', value = true }, { key = 'off', kind = 'boolean', value = false },\
                 { key = 'many', kind = 'metered', window = 'day' }]\n";
    let with = |requires: &str| {
        let config = format!("[billing]\nrequires = [{requires}]\n{plans}");
        load_file("requires", &config)
    };
    with("{ operation = 'embeddings', feature = 'embed' }, { operation = 'api_keys', feature = 'embed' }").unwrap();
    for feature in ["off", "many", "unheard_of"] {
        let said = messages(with(&format!("{{ operation = 'embeddings', feature = '{feature}' }}"))).join("\n");
        assert!(
            said.contains("billing.requires") && said.contains(&format!("[0]: `embeddings` asks for `{feature}`")),
            "{said}"
        );
    }
    let said = messages(with("{ operation = 'sign_in', feature = 'embed' }")).join("\n");
    assert!(
        said.contains("[0].operation: found \"sign_in\", expected one of chat_completions, completions, responses"),
        "{said}"
    );
}
