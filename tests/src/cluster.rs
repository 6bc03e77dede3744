//! A PostgreSQL server of a test's own, which it can stop, freeze and start again.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

/// Debian's `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// A running server. Dropping it stops it.
pub struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Cluster {
    /// Makes and starts one; `None` where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let cluster = Self {
            programs,
            folder: TempDir::with_prefix("anteroom-pg-").unwrap(),
            port: free.local_addr().unwrap().port(),
        };
        drop(free);
        if getuid().is_root() {
            chown(cluster.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let initdb = [
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ];
        cluster.run("initdb", &initdb);
        cluster.up();
        Some(cluster)
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it (again) and waits until it takes connections.
    pub fn up(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c max_connections=100",
            self.port,
            self.folder.path().display()
        );
        let log = self.folder.path().join("log");
        self.run(
            "pg_ctl",
            &["-w", "-t", "60", "-l", log.to_str().unwrap(), "-o", &options, "start"],
        );
    }

    /// Stops it: connections are cut.
    pub fn down(&self) {
        self.run("pg_ctl", &["-w", "-m", "immediate", "stop"]);
    }

    /// Lets none of its processes do anything any more, as if the network had gone: nothing is refused, nothing comes.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let file = std::fs::read_to_string(self.folder.path().join("postmaster.pid")).unwrap();
        let postmaster: i32 = file.lines().next().unwrap().parse().unwrap();
        // The postmaster first, so that it starts none behind our back.
        for pid in std::iter::once(postmaster).chain(children(postmaster)) {
            // One that has just ended needs no signal.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command
            .arg("-D")
            .arg(self.folder.path())
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap();
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.folder.path().join("postmaster.pid").exists() {
            self.thaw();
            self.down();
        }
    }
}

/// Where the server's programs are: Debian keeps them out of `PATH`, one folder a version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    let installed = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    folders.filter(installed).max_by_key(|folder| version(folder))
}

fn version(folder: &Path) -> u32 {
    let name = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// The processes that a process has started, as `/proc` knows them.
fn children(parent: i32) -> Vec<i32> {
    let parent_of = |pid: i32| -> io::Result<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in brackets may hold anything; the parent is the second word behind it.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        Ok(behind
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0))
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent_of(*pid).is_ok_and(|p| p == parent)).collect()
}
