//! The deployment's secret key: from the configuration, or in development from a file that is made once.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anteroom_crypto::generate_secret;
use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Settings;

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

/// The secret key, with a word on where it came from.
pub fn secret_key(settings: &Settings) -> anyhow::Result<SecretString> {
    if let Some(key) = &settings.secret.key {
        return Ok(key.clone());
    }
    if settings.is_production() {
        bail!("SECRET_KEY is missing; `anteroom secret` prints a fresh one");
    }
    private_folder(&settings.data.dir)?;
    let path = settings.data.dir.join("secret.key");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(SecretString::from(text.trim().to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => make(&path),
        Err(e) => Err(e).with_context(|| format!("{} cannot be read", path.display())),
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
