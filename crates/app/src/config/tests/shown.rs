//! What is shown: the dump, and the example of variables.

use std::path::Path;

use super::*;

#[test]
fn a_dump_hides_secrets_and_says_who_set_what() {
    let loaded = load_env(&[
        ("SECRET_KEY", KEY),
        ("OPENAI_API_KEY", "sk-hunter2"),
        ("DATABASE_URL", "postgres://me:hunter2@db.example/app?password=hunter2"),
        ("ANTEROOM__STRIPE_STUB__WEBHOOK_SECRET", "hunter2"),
        ("PORT", "80"),
    ])
    .unwrap();
    let dump = loaded.dump();
    assert!(!dump.contains("hunter2") && !dump.contains(KEY), "{dump}");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    for line in [
        "key = \"***\"  # SECRET_KEY",
        "openai_api_key = \"***\"  # OPENAI_API_KEY",
        "url = \"postgres://***@db.example/app\"  # DATABASE_URL",
        "port = 80  # PORT",
        "port = 9464",
        "public_url = \"http://127.0.0.1:80\"",
        "[server]",
    ] {
        assert!(dump.lines().any(|found| found == line), "{line} in\n{dump}");
    }
}

#[test]
fn a_dump_is_a_configuration_file_that_means_the_same() {
    let first = load_env(&[
        ("AI_MODELS", "a,b"),
        ("OPENAI_BASE_URL", "https://a.example/v1"),
        ("HOST", "0.0.0.0"),
    ])
    .unwrap();
    let second = load_file("dump", &first.dump()).unwrap();
    assert_eq!(format!("{:?}", first.settings), format!("{:?}", second.settings));
}

#[test]
fn the_committed_example_of_variables_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env.example");
    let committed = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        env_example().unwrap(),
        committed,
        "run: anteroom config env-example > .env.example"
    );
}

#[test]
fn the_example_of_variables_changes_nothing_until_uncommented_and_then_means_the_defaults() {
    let folder = Folder::new("example");
    let text = env_example().unwrap();
    let read = |text: &str| {
        let dotenv = Some(folder.write(".env", text));
        format!(
            "{:?}",
            load(LoadInput {
                dotenv,
                ..LoadInput::default()
            })
            .unwrap()
            .settings
        )
    };
    let is_variable = |line: &&str| {
        let name = line.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let uncommented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(is_variable)
        .collect();
    assert!(uncommented.len() > 13);
    let defaults = format!("{:?}", load_env(&[]).unwrap().settings);
    assert_eq!(read(&text), defaults);
    assert_eq!(read(&uncommented.join("\n")), defaults);
}
