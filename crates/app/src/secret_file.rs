//! The deployment's secret key: from the configuration, or in development from a file that is made once.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anteroom_crypto::generate_secret;
use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Settings;

/// Where development keeps it, in the data folder.
const FILE: &str = "secret.key";

/// Makes a folder for its owner only, if there is none.
pub fn private_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| {
            format!(
                "the data folder {} cannot be made; set DATA_DIR to one that can",
                path.display()
            )
        })
}

/// The secret key; in development one is made if there is none.
pub fn secret_key(settings: &Settings) -> anyhow::Result<SecretString> {
    if let Some(key) = existing_secret_key(settings)? {
        return Ok(key);
    }
    private_folder(&settings.data.dir)?;
    make(&settings.data.dir.join(FILE))
}

/// The secret key, if there is one: `None` where the first start will make it.
pub fn existing_secret_key(settings: &Settings) -> anyhow::Result<Option<SecretString>> {
    if let Some(key) = &settings.secret.key {
        return Ok(Some(key.clone()));
    }
    if settings.is_production() {
        bail!("SECRET_KEY is missing; `anteroom secret` prints a fresh one");
    }
    let path = settings.data.dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(SecretString::from(text.trim().to_owned()))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| {
            format!(
                "{} cannot be read; set DATA_DIR to a folder that holds it, or SECRET_KEY",
                path.display()
            )
        }),
    }
}

/// Writes a fresh key under a name of its own and links it into place, so that of two processes that start at once
/// both use the same one, and a crash leaves no half of one.
fn make(path: &Path) -> anyhow::Result<SecretString> {
    let secret = generate_secret()?;
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let written = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{}", secret.expose_secret())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
            _ => fs::remove_file(&draft),
        }
    };
    written().with_context(|| format!("{} cannot be written", path.display()))?;
    let kept = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(SecretString::from(kept.trim().to_owned()))
}
