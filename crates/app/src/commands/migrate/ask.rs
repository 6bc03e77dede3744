//! Asks before something is lost, where there is somebody to ask.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Whether to go on: yes without asking where there is no terminal.
pub(super) fn sure(question: &str) -> bool {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return true;
    }
    let _ = write!(stderr, "{question} Go on? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
