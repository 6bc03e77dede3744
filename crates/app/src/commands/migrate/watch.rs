//! What a person sees while migrations run.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anteroom_domain::migrations::{Direction, Outcome, Run};
use anteroom_services::migrations::{Progress, Watch};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::say_error;
use super::show::{colour, differences};

/// Says on standard error what happens, with a bar where that is a terminal; and remembers what was done.
pub(super) struct Terminal {
    bar: Option<ProgressBar>,
    quiet: bool,
    verbose: bool,
    ended: Mutex<Vec<Run>>,
}

impl Terminal {
    pub(super) fn new(json: bool, verbose: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self {
            bar,
            quiet: json,
            verbose,
            ended: Mutex::default(),
        }
    }

    /// The runs that have ended, well or not.
    pub(super) fn ended(&self) -> Vec<Run> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say_error(text)),
            None => say_error(text),
        }
    }
}

impl Watch for Terminal {
    fn see(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Waiting(holder) => match holder {
                Some(holder) => {
                    let since = holder.since.map_or_else(String::new, |at| format!(", since {at:.0}"));
                    let statement = holder.statement.as_deref().map(one_line);
                    let statement = statement.map_or_else(String::new, |sql| format!(", running: {sql}"));
                    self.say(&format!("waiting for {}{since}{statement}", holder.who));
                }
                None => self.say("waiting for somebody else who migrates"),
            },
            Progress::Drifted(found) => {
                self.say("the schema was changed past all migrations; what it is after the next that succeeds is taken for right:");
                for line in differences(found) {
                    self.say(&line);
                }
            }
            Progress::Begins {
                migration,
                direction,
                place,
                of,
            } => {
                if let Some(bar) = &self.bar {
                    bar.enable_steady_tick(Duration::from_millis(200));
                    bar.set_length(u64::try_from(*of).unwrap_or_default());
                    bar.set_position(u64::try_from(*place).unwrap_or_default());
                    let way = match direction {
                        Direction::Up => "applying",
                        Direction::Down => "taking back",
                    };
                    bar.set_message(format!("{way} {}", migration.folder));
                }
            }
            Progress::Statement { number, of, sql } => {
                if self.verbose {
                    self.say(&format!("{number} of {of}: {sql}"));
                }
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{number} of {of}: {}", one_line(sql)));
                }
            }
            Progress::Walked { rows, of } => {
                let of = of.map_or_else(String::new, |of| format!(" of about {of}"));
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{rows}{of} rows"));
                } else if self.verbose {
                    self.say(&format!("{rows}{of} rows"));
                }
            }
            Progress::Retries {
                again,
                at_most,
                held_by,
            } => {
                let held_by = held_by.map_or_else(String::new, |held_by| format!(", {held_by}"));
                self.say(&format!(
                    "a lock was not given in time{held_by}: trying again ({again} of {at_most})"
                ));
            }
            Progress::Ended(run) => {
                if run.outcome == Outcome::Succeeded && !self.quiet {
                    let (word, sign) = match run.direction {
                        Direction::Up => ("applied", "\u{1b}[32m"),
                        Direction::Down => ("reverted", "\u{1b}[33m"),
                    };
                    let said = format!("{}  {}_{}  {} ms", colour(word, sign), run.version, run.name, run.ms());
                    match &self.bar {
                        Some(bar) => bar.suspend(|| super::super::say(&said)),
                        None => super::super::say(&said),
                    }
                }
                self.ended
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((*run).clone());
            }
        }
    }
}

/// The beginning of a statement, in one line.
fn one_line(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let line = words.join(" ");
    let short: String = line.chars().take(80).collect();
    if short.len() < line.len() {
        format!("{short} …")
    } else {
        short
    }
}
