//! A real mail server in a process of its own: `tests/smtp/server.py`, where `TEST_SMTP_PYTHON` names a Python that has
//! aiosmtpd. `scripts/test` sees to that.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lock;

/// The server. Dropping it ends it.
pub struct SmtpServer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    process: Child,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl SmtpServer {
    /// Whether one can be started here: without one a developer's tests leave mail servers out. With `CI` set in the
    /// environment that is a failure.
    pub fn is_there() -> bool {
        let there = python().is_some();
        let may_be_missing = std::env::var_os("CI").is_none_or(|ci| ci.is_empty());
        assert!(
            there || may_be_missing,
            "TEST_SMTP_PYTHON names no Python with aiosmtpd"
        );
        there
    }

    /// Starts one with these arguments, of which the script tells.
    pub fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/smtp/server.py");
        let mut process = Command::new(python().unwrap())
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().trim().parse().unwrap();
        let taken = Arc::<Mutex<Vec<Value>>>::default();
        let shared = Arc::clone(&taken);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                lock(&shared).extend(serde_json::from_str::<Value>(&line));
            }
        });
        Self { port, process, taken }
    }

    /// The mails that it has taken, as the script tells of them, as soon as there are so many.
    pub async fn taken(&self, at_least: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let taken = lock(&self.taken).clone();
            if taken.len() >= at_least || begun.elapsed() > Duration::from_secs(60) {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a certificate for `localhost` and its key in this folder, with `openssl`; `None` where that is not there.
    pub fn certificate(folder: &Path) -> Option<(PathBuf, PathBuf)> {
        let (certificate, key, config) = (
            folder.join("cert.pem"),
            folder.join("key.pem"),
            folder.join("openssl.cnf"),
        );
        let text = "[req]\ndistinguished_name=name\nx509_extensions=v3\nprompt=no\n[name]\nCN=localhost\n[v3]\n\
            basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n";
        std::fs::write(&config, text).unwrap();
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .arg("-config")
            .arg(&config)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        made.is_ok_and(|status| status.success()).then_some((certificate, key))
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn python() -> Option<PathBuf> {
    std::env::var_os("TEST_SMTP_PYTHON")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}
