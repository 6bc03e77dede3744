//! The real binary, as a process.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{PATIENCE, eventually};

/// The binary: `ANTEROOM_BIN`, or the one that was built beside the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ANTEROOM_BIN") {
        return path.into();
    }
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/anteroom-under-test");
    let how = "cargo build -p anteroom-tests --example anteroom-under-test";
    assert!(path.exists(), "{} is not there: {how}", path.display());
    path
}

/// A command of the binary with these variables and no others.
pub fn command(folder: &Path, variables: &BTreeMap<String, String>, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end, with this on its standard input.
pub fn output(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may be gone before it is written to.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A server in a process of its own. Dropping it kills it.
pub struct Server {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// Where it listens.
    pub url: String,
}

impl Server {
    /// Starts one, without a command, and waits until it listens.
    pub async fn start(folder: &Path, variables: &BTreeMap<String, String>) -> Self {
        Self::try_start(folder, variables)
            .await
            .unwrap_or_else(|said| panic!("it does not start:\n{said}"))
    }

    /// Starts one; if it ends before it listens, what it said.
    pub async fn try_start(folder: &Path, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut child = command(folder, variables, &[]).spawn().unwrap();
        let said = Arc::<Mutex<String>>::default();
        let readers = vec![
            collect(child.stdout.take().unwrap(), &said),
            collect(child.stderr.take().unwrap(), &said),
        ];
        let begun = Instant::now();
        loop {
            let address = address(&said.lock().unwrap());
            if let Some(address) = address {
                let url = format!("http://{address}");
                return Ok(Self {
                    child,
                    said,
                    readers,
                    url,
                });
            }
            if child.try_wait().unwrap().is_some() {
                for reader in readers {
                    reader.join().unwrap();
                }
                return Err(said.lock().unwrap().clone());
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it neither listens nor ends:\n{}",
                said.lock().unwrap()
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Everything it has written so far, on both outputs.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, and for all that it has written.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = eventually("the process ends", || self.child.try_wait().unwrap()).await;
        eventually("what it wrote is read", || {
            self.readers.iter().all(JoinHandle::is_finished).then_some(())
        })
        .await;
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Out of the line that says that the server has started, or of the greeting to people.
fn address(said: &str) -> Option<String> {
    let greeting = |line: &str| {
        line.trim()
            .strip_prefix("API ")?
            .trim()
            .strip_prefix("http://")?
            .split(' ')
            .next()
            .map(str::to_owned)
    };
    if let Some(address) = said.lines().find_map(greeting) {
        return Some(address);
    }
    let line = said.lines().find(|line| line.contains("\"server.started\""))?;
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = if line["fields"].is_object() {
        &line["fields"]
    } else {
        &line
    };
    fields["address"].as_str().map(str::to_owned)
}

fn collect(output: impl Read + Send + 'static, said: &Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
