//! The server's log on its way to standard output: lines are gathered for some milliseconds and written together, since
//! a system call for each is a tenth of a session check (docs/performance.md).
//!
//! What is worse than information is written at once, with all that came before it. So a killed process loses at most
//! the lines of its last moment, and none that says what went wrong.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// For how long a line may wait for others.
const GATHER: Duration = Duration::from_millis(10);

/// More than this is written by whoever adds the line that passes it, so that output which nobody reads holds up those who
/// log instead of filling the memory.
const MOST: usize = 256 * 1024;

static LINES: LazyLock<Arc<Lines>> = LazyLock::new(|| Arc::new(Lines::new(Box::new(io::stdout()))));

/// Lines that wait, and where they go.
struct Lines {
    waiting: Mutex<Vec<u8>>,
    /// Held while what waits is taken and written, so that lines stay in their order.
    output: Mutex<Box<dyn Write + Send>>,
    came: Condvar,
}

impl Lines {
    fn new(output: Box<dyn Write + Send>) -> Self {
        Self {
            waiting: Mutex::default(),
            output: Mutex::new(output),
            came: Condvar::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8], urgent: bool) -> io::Result<()> {
        let mut waiting = self.waiting();
        let first = waiting.is_empty();
        waiting.extend_from_slice(line);
        let full = waiting.len() > MOST;
        drop(waiting);
        if urgent || full {
            return self.flush();
        }
        if first {
            self.came.notify_one();
        }
        Ok(())
    }

    /// Writes what waits.
    fn flush(&self) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut *self.waiting());
        output.write_all(&lines)?;
        output.flush()
    }

    /// Waits for lines, gathers what comes soon after, and writes it. Then again.
    fn gather(&self) {
        loop {
            let mut waiting = self.waiting();
            while waiting.is_empty() {
                waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            drop(waiting);
            thread::sleep(GATHER);
            // Output that is gone is gone for good; there is nowhere left to say so.
            let _ = self.flush();
        }
    }
}

/// Starts the thread that writes what was gathered.
pub(crate) fn start() -> io::Result<Gathered> {
    let lines = Arc::clone(&LINES);
    let gather = move || lines.gather();
    thread::Builder::new().name("log".to_owned()).spawn(gather)?;
    Ok(Gathered(Arc::clone(&LINES)))
}

/// Writes what waits: before the process ends, and before anything else is written to standard output.
pub(crate) fn flush() {
    let _ = LINES.flush();
}

/// Makes a writer for each line.
pub(crate) struct Gathered(Arc<Lines>);

/// Takes one line.
pub(crate) struct Line<'a> {
    lines: &'a Lines,
    urgent: bool,
}

impl<'a> MakeWriter<'a> for Gathered {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: &self.0,
            urgent: true,
        }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line {
            lines: &self.0,
            urgent: *about.level() <= Level::WARN,
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.add(line, self.urgent)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Every write that reaches the output.
    struct Seen(mpsc::Sender<String>);

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (Lines, mpsc::Receiver<String>) {
        let (seen, output) = mpsc::channel();
        (Lines::new(Box::new(Seen(seen))), output)
    }

    #[test]
    fn what_went_wrong_is_written_at_once_after_all_that_came_before() {
        let (lines, output) = lines();
        lines.add(b"a\n", false).unwrap();
        lines.add(b"b\n", false).unwrap();
        assert!(output.try_recv().is_err());
        lines.add(b"wrong\n", true).unwrap();
        assert_eq!(output.try_recv().unwrap(), "a\nb\nwrong\n");
    }

    #[test]
    fn lines_are_written_together_soon_after_they_came() {
        let (lines, output) = lines();
        let lines = Arc::new(lines);
        let gathering = Arc::clone(&lines);
        thread::spawn(move || gathering.gather());
        for round in 0..3 {
            for n in 0..100 {
                lines.add(format!("{round} {n}\n").as_bytes(), false).unwrap();
            }
            let wanted = (0..100).map(|n| format!("{round} {n}\n")).collect::<Vec<_>>().concat();
            let (mut got, mut writes) = (String::new(), 0);
            while got.len() < wanted.len() {
                got += &output.recv_timeout(Duration::from_secs(5)).unwrap();
                writes += 1;
            }
            assert_eq!(got, wanted);
            assert!(writes < 50, "{writes}");
        }
    }

    #[test]
    fn what_nobody_writes_does_not_pile_up() {
        let (lines, output) = lines();
        let line = [b'x'; 1024];
        for _ in 0..=MOST / line.len() {
            lines.add(&line, false).unwrap();
        }
        assert_eq!(output.try_recv().unwrap().len(), MOST + line.len());
    }
}
