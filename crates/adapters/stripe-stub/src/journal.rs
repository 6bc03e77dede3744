//! What keeps the objects across restarts: a file of JSON lines, one for each change as a whole. A line is written
//! before the change is answered, so that killing the process loses nothing that anybody was told.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Objects in a line of a compacted journal.
const PER_LINE: usize = 100;

/// Why the stub did not open.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// Another process has the journal.
    #[error("the journal {0} is in use by another process")]
    Locked(PathBuf),
    /// The journal cannot be read or written.
    #[error("the journal {path}: {source}")]
    Journal {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of it, other than the last, is not the stub's.
    #[error("the journal {path}: line {line} is damaged")]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A key that the stub must not be given.
    #[error("stripe-stub takes no live key: give it one that begins with sk_test_")]
    LiveKey,
    /// The thread of deliveries did not start.
    #[error("the thread of deliveries did not start: {0}")]
    Thread(io::Error),
}

/// One change as a whole.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Objects as they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) put: Vec<Value>,
    /// Identifiers of what is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) del: Vec<String>,
    /// How far the clock is ahead of the real one, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<i64>,
}

/// An open journal. The lock goes with it.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    _lock: File,
}

impl Journal {
    /// Locks it and reads what it says, line after line. A last line without its end was being written when the
    /// process died: nobody was told of it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Line>), StubError> {
        let failed = |source| StubError::Journal {
            path: path.to_owned(),
            source,
        };
        let lock = private(OpenOptions::new().create(true).append(true))
            .open(beside(path, "lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(StubError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let lines = match fs::read(path) {
            Ok(bytes) => read(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let file = private(OpenOptions::new().create(true).append(true))
            .open(path)
            .map_err(failed)?;
        let journal = Self {
            path: path.to_owned(),
            file,
            _lock: lock,
        };
        Ok((journal, lines))
    }

    /// Replaces it by one that says only how things are: written anew, synced, renamed.
    pub(crate) fn compact(&mut self, objects: &[&Value], clock: i64) -> io::Result<()> {
        let fresh = beside(&self.path, "new");
        let mut file = private(OpenOptions::new().create(true).write(true).truncate(true)).open(&fresh)?;
        let mut out = io::BufWriter::new(&mut file);
        let first = Line {
            clock: Some(clock),
            ..Line::default()
        };
        write_line(&mut out, &first)?;
        for some in objects.chunks(PER_LINE) {
            let line = Line {
                put: some.iter().map(|object| (*object).clone()).collect(),
                ..Line::default()
            };
            write_line(&mut out, &line)?;
        }
        out.flush()?;
        drop(out);
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        self.file = private(OpenOptions::new().append(true)).open(&self.path)?;
        Ok(())
    }

    /// Writes a change. After a failure the file ends as it did before.
    pub(crate) fn write(&mut self, line: &Line) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let mut bytes = Vec::new();
        write_line(&mut bytes, line)?;
        self.file.write_all(&bytes).inspect_err(|_| {
            // Half a line in the middle would make the whole unreadable.
            self.file.set_len(length).ok();
        })
    }
}

fn write_line(out: &mut impl io::Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Line>, StubError> {
    let mut lines = Vec::new();
    for (index, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        let line = serde_json::from_slice(whole).map_err(|_| StubError::Damaged {
            path: path.to_owned(),
            line: index + 1,
        })?;
        lines.push(line);
    }
    Ok(lines)
}

/// It holds e-mail addresses and secrets of webhooks.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}
