//! Which layer's value counts.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::*;

#[test]
fn a_higher_layer_goes_before_a_lower_one() {
    let folder = Folder::new("layers");
    let file = folder.write(
        "a.toml",
        "[server]\nhost = '10.0.0.1'\nport = 1\n[metrics]\nport = 1\n[log]\nlevel = 'warn'\n",
    );
    let dotenv = folder.write(
        ".env",
        "PORT=2\nMETRICS_PORT=2\nANTEROOM__CHAT__MEMORY_TOKENS=2\nDATA_DIR='my data'\n",
    );
    let env = variables(&[
        ("ANTEROOM__METRICS__PORT", "3"),
        ("ANTEROOM__DATA__DIR", "three"),
        ("DATA_DIR", "four"),
    ]);
    let input = LoadInput {
        config_path: Some(file.clone()),
        dotenv: Some(dotenv),
        env,
        ..LoadInput::default()
    };
    let Loaded { settings, sources, .. } = load(input).unwrap();
    assert_eq!(settings.log.level, "warn");
    assert_eq!(settings.server.host, "10.0.0.1");
    assert_eq!(settings.server.port, 2, ".env is above the file");
    assert_eq!(settings.chat.memory_tokens, 2);
    assert_eq!(
        settings.metrics.port, 3,
        "a real variable is above .env, however it is called"
    );
    assert_eq!(
        settings.data.dir,
        Path::new("four"),
        "the conventional name is above the other"
    );
    assert_eq!(sources["log.level"], Source::File(file));
    assert_eq!(sources["server.port"], Source::DotEnv("PORT".to_owned()));
    assert_eq!(
        sources["metrics.port"],
        Source::Variable("ANTEROOM__METRICS__PORT".to_owned())
    );
    assert_eq!(sources["data.dir"], Source::Variable("DATA_DIR".to_owned()));
    assert_eq!(sources["chat.max_message_bytes"], Source::Default);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let folder = Folder::new("empty");
    let dotenv = folder.write(".env", "PORT=81\n");
    let env = variables(&[("PORT", ""), ("ANTEROOM__METRICS__PORT", ""), ("DATABASE_URL", "")]);
    let settings = load(LoadInput {
        dotenv: Some(dotenv),
        env,
        ..LoadInput::default()
    })
    .unwrap()
    .settings;
    assert_eq!((settings.server.port, settings.metrics.port), (81, 9464));
}

#[test]
fn loading_does_not_touch_the_process_environment() {
    let folder = Folder::new("process");
    let dotenv = folder.write(".env", "ANTEROOM__PRODUCT__NAME=Elsewhere\n");
    let loaded = load(LoadInput {
        dotenv: Some(dotenv),
        ..LoadInput::default()
    })
    .unwrap();
    assert_eq!(loaded.settings.product.name, "Elsewhere");
    assert!(std::env::var_os("ANTEROOM__PRODUCT__NAME").is_none());
}

#[test]
fn files_that_may_be_missing_may_and_one_that_was_asked_for_may_not() {
    let missing = Some(PathBuf::from("/nonexistent/anteroom.toml"));
    let optional = LoadInput {
        default_config_path: missing.clone(),
        dotenv: missing.clone(),
        ..LoadInput::default()
    };
    assert!(load(optional).is_ok());
    let said = messages(load(LoadInput {
        config_path: missing,
        ..LoadInput::default()
    }));
    assert!(
        said[0].starts_with("/nonexistent/anteroom.toml: cannot be read"),
        "{said:?}"
    );
    assert!(load_env(&[("ANTEROOM_CONFIG", "/nonexistent/a.toml")]).is_err());
}

#[test]
fn the_variable_names_a_file_and_the_argument_goes_before_it() {
    let folder = Folder::new("argument");
    let by_variable = folder.write("v.toml", "[server]\nport = 1\n");
    let by_argument = folder.write("a.toml", "[server]\nport = 2\n");
    let env = variables(&[("ANTEROOM_CONFIG", by_variable.to_str().unwrap())]);
    let port = |config_path| {
        load(LoadInput {
            config_path,
            env: env.clone(),
            ..LoadInput::default()
        })
        .unwrap()
        .settings
        .server
        .port
    };
    assert_eq!((port(None), port(Some(by_argument))), (1, 2));
}

#[test]
fn lists_and_addresses_are_read() {
    let settings = load_env(&[
        ("AI_MODELS", "gpt-a, gpt-b"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,192.168.0.1"),
        ("FRONTEND_URL", "https://app.example.com/start"),
        ("OPENAI_API_KEY", "sk-not-a-key"),
        ("HOST", "::1"),
        ("PORT", "8080"),
        ("DATABASE_URL", "sqlite:///srv/a.db"),
    ])
    .unwrap()
    .settings;
    assert_eq!(settings.ai.models, ["gpt-a", "gpt-b"]);
    assert_eq!(settings.server.trusted_proxies[1].to_string(), "192.168.0.1/32");
    assert_eq!(settings.public_url().as_str(), "http://[::1]:8080/");
    assert_eq!(
        settings.allowed_origins(),
        [
            "http://[::1]:8080",
            "https://app.example.com",
            "http://localhost:8080",
            "http://127.0.0.1:8080"
        ]
    );
    assert!(matches!(settings.database(), DatabaseTarget::Sqlite(path) if path == Path::new("/srv/a.db")));
    let provider = settings.model_providers().remove(0);
    assert_eq!(
        (
            provider.base_url.unwrap().as_str(),
            provider.api_key.unwrap().expose_secret()
        ),
        ("https://api.openai.com/v1", "sk-not-a-key")
    );
}

#[test]
fn a_provider_without_a_key_is_one() {
    let settings = load_env(&[("OPENAI_BASE_URL", "http://localhost:11434/v1")])
        .unwrap()
        .settings;
    let provider = settings.model_providers().remove(0);
    assert_eq!(provider.base_url.unwrap().as_str(), "http://localhost:11434/v1");
    assert!(provider.api_key.is_none());
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = Folder::new("secret-file");
    let path = folder.write("key", &format!("{KEY}\n"));
    let path = path.to_str().unwrap();
    for name in ["SECRET_KEY_FILE", "ANTEROOM__SECRET__KEY_FILE"] {
        let loaded = load_env(&[(name, path)]).unwrap();
        assert_eq!(loaded.settings.secret.key.unwrap().expose_secret(), KEY);
        assert_eq!(loaded.sources["secret.key"], Source::Variable(name.to_owned()));
    }
    assert!(
        messages(load_env(&[("SECRET_KEY_FILE", "/nonexistent")]))[0].contains("cannot read the file /nonexistent")
    );
}
