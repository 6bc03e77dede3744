//! Where a database stands, compared with the files; and what may be done next.

use std::collections::HashMap;

use super::history::{Direction, Run};
use super::{Dialect, Migration, Script, Version, normal_checksum};

/// How a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is applied, and its file is as it was.
    Applied,
    /// It is applied; its file was changed in comments, white space or line ends only.
    Reformatted,
    /// It is applied, and its file says something else now.
    Changed,
    /// It is to be applied.
    Pending,
    /// It is not applied, and a later one is.
    OutOfOrder,
    /// It is applied, in part at least, and there is no file.
    Unknown,
    /// Some of its statements were run, and it is not applied.
    PartlyUp {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// Some of what takes it back was run, and it is still applied.
    PartlyDown {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
}

impl State {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Reformatted => "reformatted",
            Self::Changed => "changed",
            Self::Pending => "pending",
            Self::OutOfOrder => "out_of_order",
            Self::Unknown => "unknown",
            Self::PartlyUp { .. } => "partly_up",
            Self::PartlyDown { .. } => "partly_down",
        }
    }

    /// Whether it is still to be applied.
    pub fn pending(self) -> bool {
        matches!(self, Self::Pending | Self::OutOfOrder | Self::PartlyUp { .. })
    }
}

/// One line of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub version: Version,
    /// Its name: the file's, or the history's where there is none.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// The run that applied it, or the last one that did something to it.
    pub run: Option<Run>,
}

/// What a database has been through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// Versions that are applied.
    pub applied: Vec<Version>,
    /// All runs, oldest first.
    pub runs: Vec<Run>,
}

/// Compares the files with what the database says, oldest version first.
pub fn compare(files: &[Migration], past: &Past) -> Vec<Entry> {
    let mut last: HashMap<&Version, &Run> = HashMap::new();
    let mut vouched: HashMap<&Version, &Run> = HashMap::new();
    for run in &past.runs {
        last.insert(&run.version, run);
        if run.direction == Direction::Up && run.outcome.complete() {
            vouched.insert(&run.version, run);
        }
    }
    let newest = past.applied.iter().max();
    let mut entries: Vec<Entry> = files
        .iter()
        .map(|file| {
            let version = &file.version;
            let (last, vouched) = (last.get(version).copied(), vouched.get(version).copied());
            let applied = past.applied.contains(version);
            let state = match last {
                Some(run) if run.partial() && applied == (run.direction == Direction::Down) => {
                    // A backfill's one statement is noted when it begins.
                    let done = if run.walked_to.is_some() {
                        0
                    } else {
                        run.statements.len()
                    };
                    let total = run.total;
                    match run.direction {
                        Direction::Up => State::PartlyUp { done, total },
                        Direction::Down => State::PartlyDown { done, total },
                    }
                }
                _ if !applied && newest.is_some_and(|newest| version < newest) => State::OutOfOrder,
                _ if !applied => State::Pending,
                _ => vouched.map_or(State::Applied, |run| is_as_it_was(&file.up, run)),
            };
            Entry {
                version: version.clone(),
                name: file.name.clone(),
                state,
                run: match state {
                    State::PartlyUp { .. } | State::PartlyDown { .. } => last,
                    _ if applied => vouched,
                    _ => last,
                }
                .cloned(),
            }
        })
        .collect();
    let unknown = past
        .applied
        .iter()
        .filter(|version| !files.iter().any(|file| file.version == **version));
    let half = last.values().filter(|run| {
        run.partial() && !past.applied.contains(&run.version) && !files.iter().any(|file| file.version == run.version)
    });
    entries.extend(half.map(|run| Entry {
        version: run.version.clone(),
        name: run.name.clone(),
        state: State::Unknown,
        run: Some((*run).clone()),
    }));
    entries.extend(unknown.map(|version| Entry {
        version: version.clone(),
        name: vouched.get(version).map(|run| run.name.clone()).unwrap_or_default(),
        state: State::Unknown,
        run: last.get(version).copied().cloned(),
    }));
    entries.sort_by(|one, two| one.version.cmp(&two.version));
    entries
}

fn is_as_it_was(up: &Script, run: &Run) -> State {
    // What was adopted from Diesel's table has no hash, and nothing to hold the file against.
    if run.exact_checksum.is_empty() || run.exact_checksum == up.exact_checksum {
        State::Applied
    } else if run.normal_checksum == up.normal_checksum {
        State::Reformatted
    } else {
        State::Changed
    }
}

/// Why something is not done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Versions are applied that have no file.
    #[error(
        "applied, and unknown here: {}. A newer version has been here, or the folder has lost files: get them, or take \
         the migrations back with the files that have them", list(.0)
    )]
    Unknown(Vec<Version>),
    /// Files are not applied that are older than one that is.
    #[error(
        "older than {newest}, which is applied, and not applied themselves: {}. Give them a later version, or apply them \
         all the same with --out-of-order", list(.versions)
    )]
    OutOfOrder {
        /// Which.
        versions: Vec<Version>,
        /// The newest that is applied.
        newest: Version,
    },
    /// Files say something else than when they were applied.
    #[error(
        "changed after they were applied: {}. Put the files back as they were and make the change a migration of its own; \
         or, if the database is as the files say now, `anteroom migrate repair`", list(.0)
    )]
    Changed(Vec<Version>),
    /// There is no such version.
    #[error("there is no migration {0}; `anteroom migrate status` lists them")]
    NoSuchVersion(Version),
    /// It is not applied.
    #[error("{0} is not applied; `anteroom migrate status` lists those that are")]
    NotApplied(Version),
    /// More was asked for than there is.
    #[error("only {0} are applied; `anteroom migrate status` lists them")]
    TooFew(usize),
    /// It cannot be taken back, as its author says.
    #[error("{version} cannot be taken back: {reason}")]
    Irreversible {
        /// Which.
        version: Version,
        /// In its author's words.
        reason: String,
    },
    /// Nothing says how to take it back.
    #[error(
        "{0} has no down.sql that does anything. Write one, or say in its migration.toml why there is none: irreversible \
         = \"…\""
    )]
    NoDown(Version),
    /// It was run in part, and its file has been changed since in what was run.
    #[error(
        "{version} was run in part, and statement {statement}, which was run, has been changed since. Put it back as it \
         was, or finish by hand and say so: `anteroom migrate repair --applied {version}`, or `--not-applied`"
    )]
    EditedSince {
        /// Which.
        version: Version,
        /// Which statement, from 1.
        statement: usize,
    },
    /// It was taken back in part.
    #[error("{0} was taken back in part: `anteroom migrate down` goes on with it, before anything else is done")]
    PartlyDown(Version),
    /// It was applied in part.
    #[error("{0} was applied in part: `anteroom migrate up` goes on with it, before anything is taken back")]
    PartlyUp(Version),
}

fn list(versions: &[Version]) -> String {
    let versions: Vec<&str> = versions.iter().map(Version::as_str).collect();
    versions.join(", ")
}

fn in_state(entries: &[Entry], state: State) -> Vec<Version> {
    let found = entries.iter().filter(|entry| entry.state == state);
    found.map(|entry| entry.version.clone()).collect()
}

/// What is to be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpOptions {
    /// Up to and including this one; all if absent.
    pub to: Option<Version>,
    /// Also what is older than the newest that is applied.
    pub out_of_order: bool,
}

/// The migrations that are to be applied, oldest first.
///
/// # Errors
/// Whatever stands against applying any: nothing is done then.
pub fn to_apply<'a>(
    files: &'a [Migration],
    entries: &[Entry],
    options: &UpOptions,
) -> Result<Vec<&'a Migration>, Refusal> {
    let unknown = in_state(entries, State::Unknown);
    if !unknown.is_empty() {
        return Err(Refusal::Unknown(unknown));
    }
    let changed = in_state(entries, State::Changed);
    if !changed.is_empty() {
        return Err(Refusal::Changed(changed));
    }
    if let Some(entry) = entries
        .iter()
        .find(|entry| matches!(entry.state, State::PartlyDown { .. }))
    {
        return Err(Refusal::PartlyDown(entry.version.clone()));
    }
    let to = options.to.as_ref();
    if let Some(to) = to
        && !files.iter().any(|file| file.version == *to)
    {
        return Err(Refusal::NoSuchVersion(to.clone()));
    }
    let late = in_state(entries, State::OutOfOrder);
    let newest = entries.iter().rev().find(|entry| !entry.state.pending());
    if let (false, false, Some(newest)) = (late.is_empty(), options.out_of_order, newest) {
        return Err(Refusal::OutOfOrder {
            versions: late,
            newest: newest.version.clone(),
        });
    }
    let pending = |file: &&Migration| {
        let entry = entries.iter().find(|entry| entry.version == file.version);
        entry.is_some_and(|entry| entry.state.pending()) && to.is_none_or(|to| file.version <= *to)
    };
    Ok(files.iter().filter(pending).collect())
}

/// How far to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// Until this one is the newest that is applied.
    To(Version),
    /// So many.
    Steps(usize),
    /// All of them.
    All,
}

/// The migrations that are to be taken back, newest first.
///
/// # Errors
/// Whatever stands against taking any of them back: nothing is done then.
pub fn to_take_back<'a>(files: &'a [Migration], entries: &[Entry], back: &Back) -> Result<Vec<&'a Migration>, Refusal> {
    if let Some(entry) = entries
        .iter()
        .find(|entry| matches!(entry.state, State::PartlyUp { .. }))
    {
        return Err(Refusal::PartlyUp(entry.version.clone()));
    }
    let applied: Vec<&Entry> = entries.iter().filter(|entry| !entry.state.pending()).collect();
    let kept = match back {
        Back::All => 0,
        Back::To(version) => match applied.iter().position(|entry| entry.version == *version) {
            Some(place) => place + 1,
            None => return Err(Refusal::NotApplied(version.clone())),
        },
        Back::Steps(steps) => applied
            .len()
            .checked_sub(*steps)
            .ok_or(Refusal::TooFew(applied.len()))?,
    };
    let mut found = Vec::new();
    for entry in applied.iter().skip(kept).rev() {
        let version = || entry.version.clone();
        let file = files
            .iter()
            .find(|file| file.version == entry.version)
            .ok_or_else(|| Refusal::Unknown(vec![version()]))?;
        if let Some(reason) = &file.options.irreversible {
            let reason = reason.clone();
            return Err(Refusal::Irreversible {
                version: version(),
                reason,
            });
        }
        if file.down.as_ref().is_none_or(|down| down.statements.is_empty()) {
            return Err(Refusal::NoDown(version()));
        }
        found.push(file);
    }
    Ok(found)
}

/// With which statement of a script a run that was interrupted goes on: how many are done.
///
/// # Errors
/// [`Refusal::EditedSince`] if one that was run is not what it was.
pub fn resume_at(script: &Script, run: &Run, dialect: Dialect) -> Result<usize, Refusal> {
    for (place, done) in run.statements.iter().enumerate() {
        let same = script
            .statements
            .get(place)
            .is_some_and(|statement| normal_checksum(std::slice::from_ref(statement), dialect) == done.checksum);
        if !same {
            return Err(Refusal::EditedSince {
                version: run.version.clone(),
                statement: place + 1,
            });
        }
    }
    Ok(run.statements.len())
}

#[cfg(test)]
mod tests {
    use super::super::history::{Outcome, Runner, StatementRun};
    use super::super::{SourceFile, read_folder};
    use super::*;
    use crate::Timestamp;

    const TEXTS: [(&str, &str); 3] = [("1_a", "SELECT 1; SELECT 2"), ("2_b", "SELECT 3"), ("3_c", "SELECT 4")];

    fn files_with(texts: &[(&str, &str)]) -> Vec<Migration> {
        let mut files = Vec::new();
        for (folder, up) in texts {
            for (name, text) in [("up.sql", *up), ("down.sql", "SELECT 9")] {
                files.push(SourceFile {
                    path: format!("{folder}/{name}"),
                    bytes: text.into(),
                });
            }
        }
        read_folder(&files, Dialect::Postgres).unwrap()
    }

    fn run(file: &Migration, direction: Direction, outcome: Outcome, done: usize) -> Run {
        let script = match direction {
            Direction::Up => &file.up,
            Direction::Down => file.down.as_ref().unwrap(),
        };
        let statements = script.statements.iter().take(done).map(|statement| StatementRun {
            checksum: normal_checksum(std::slice::from_ref(statement), Dialect::Postgres),
            ms: 1,
            rows: 0,
        });
        Run {
            id: 1,
            version: file.version.clone(),
            name: file.name.clone(),
            direction,
            outcome,
            exact_checksum: script.exact_checksum.clone(),
            normal_checksum: script.normal_checksum.clone(),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
            runner: Runner {
                user: "u".into(),
                host: "h".into(),
                pid: 1,
                tool_version: "0".into(),
            },
            role: String::new(),
            total: script.statements.len(),
            statements: statements.collect(),
            begun: None,
            walked_to: None,
            fingerprint: None,
            error: None,
        }
    }

    fn up_to(version: &Version) -> UpOptions {
        UpOptions {
            to: Some(version.clone()),
            ..UpOptions::default()
        }
    }

    fn past(files: &[Migration], applied: &[usize]) -> Past {
        Past {
            applied: applied.iter().map(|place| files[*place].version.clone()).collect(),
            runs: applied
                .iter()
                .map(|place| run(&files[*place], Direction::Up, Outcome::Succeeded, 9))
                .collect(),
        }
    }

    fn states(files: &[Migration], past: &Past) -> Vec<State> {
        compare(files, past).into_iter().map(|entry| entry.state).collect()
    }

    fn versions(found: Result<Vec<&Migration>, Refusal>) -> Vec<&str> {
        found.unwrap().into_iter().map(|file| file.version.as_str()).collect()
    }

    #[test]
    fn what_is_missing_is_applied_in_order() {
        let files = files_with(&TEXTS);
        let entries = compare(&files, &past(&files, &[0]));
        assert_eq!(versions(to_apply(&files, &entries, &UpOptions::default())), ["2", "3"]);
        let two = "2".parse().unwrap();
        assert_eq!(versions(to_apply(&files, &entries, &up_to(&two))), ["2"]);
        let nine = "9".parse().unwrap();
        let refused = to_apply(&files, &entries, &up_to(&nine));
        assert_eq!(refused, Err(Refusal::NoSuchVersion(nine)));
    }

    #[test]
    fn files_that_changed_stop_everything_unless_they_say_the_same() {
        let files = files_with(&TEXTS);
        let past = past(&files, &[0, 1]);
        let reformatted = files_with(&[TEXTS[0], ("2_b", "-- why\r\nSELECT  3;"), TEXTS[2]]);
        assert_eq!(
            states(&reformatted, &past),
            [State::Applied, State::Reformatted, State::Pending]
        );
        let entries = compare(&reformatted, &past);
        assert_eq!(versions(to_apply(&reformatted, &entries, &UpOptions::default())), ["3"]);

        let changed = files_with(&[TEXTS[0], ("2_b", "SELECT 4"), TEXTS[2]]);
        let entries = compare(&changed, &past);
        let refused = to_apply(&changed, &entries, &UpOptions::default());
        assert_eq!(refused, Err(Refusal::Changed(vec!["2".parse().unwrap()])));
    }

    #[test]
    fn what_came_late_or_is_gone_is_refused() {
        let files = files_with(&TEXTS);
        let late = past(&files, &[0, 2]);
        let entries = compare(&files, &late);
        let error = to_apply(&files, &entries, &UpOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("older than 3, which is applied") && error.contains("--out-of-order"),
            "{error}"
        );
        let allowed = UpOptions {
            out_of_order: true,
            ..UpOptions::default()
        };
        assert_eq!(versions(to_apply(&files, &entries, &allowed)), ["2"]);

        let entries = compare(&files[..1], &past(&files, &[0, 1]));
        assert_eq!(entries[1].state, State::Unknown);
        assert_eq!(entries[1].name, "b");
        let refused = to_apply(&files[..1], &entries, &allowed).unwrap_err();
        assert_eq!(refused, Refusal::Unknown(vec!["2".parse().unwrap()]));
        let refused = to_take_back(&files[..1], &entries, &Back::Steps(1)).unwrap_err();
        assert_eq!(refused, Refusal::Unknown(vec!["2".parse().unwrap()]));
    }

    #[test]
    fn the_newest_are_taken_back_first_and_the_named_one_stays() {
        let files = files_with(&TEXTS);
        let entries = compare(&files, &past(&files, &[0, 1, 2]));
        let back = |back: Back| to_take_back(&files, &entries, &back);
        assert_eq!(versions(back(Back::To("1".parse().unwrap()))), ["3", "2"]);
        assert_eq!(versions(back(Back::To("3".parse().unwrap()))), [""; 0]);
        assert_eq!(versions(back(Back::Steps(1))), ["3"]);
        assert_eq!(versions(back(Back::All)), ["3", "2", "1"]);
        assert_eq!(back(Back::Steps(4)), Err(Refusal::TooFew(3)));
        let nine: Version = "9".parse().unwrap();
        assert_eq!(back(Back::To(nine.clone())), Err(Refusal::NotApplied(nine)));

        let mut fixed = files.clone();
        fixed[1].options.irreversible = Some("rows are gone".into());
        fixed[0].down = None;
        let refused = to_take_back(&fixed, &entries, &Back::Steps(2)).unwrap_err().to_string();
        assert_eq!(refused, "2 cannot be taken back: rows are gone");
        fixed[1].options.irreversible = None;
        let refused = to_take_back(&fixed, &entries, &Back::All).unwrap_err();
        assert_eq!(refused, Refusal::NoDown("1".parse().unwrap()));
    }

    #[test]
    fn what_was_done_in_part_goes_on_where_it_stopped() {
        let files = files_with(&TEXTS);
        let mut past = Past::default();
        past.runs.push(run(&files[0], Direction::Up, Outcome::Failed, 1));
        let part = State::PartlyUp { done: 1, total: 2 };
        assert_eq!(states(&files, &past), [part, State::Pending, State::Pending]);
        let entries = compare(&files, &past);
        assert_eq!(
            versions(to_apply(&files, &entries, &UpOptions::default())),
            ["1", "2", "3"]
        );
        let refused = to_take_back(&files, &entries, &Back::Steps(1)).unwrap_err();
        assert_eq!(refused, Refusal::PartlyUp("1".parse().unwrap()));

        assert_eq!(resume_at(&files[0].up, &past.runs[0], Dialect::Postgres), Ok(1));
        let edited = files_with(&[("1_a", "SELECT 1 /* why */; SELECT 7")]);
        assert_eq!(resume_at(&edited[0].up, &past.runs[0], Dialect::Postgres), Ok(1));
        let edited = files_with(&[("1_a", "SELECT 0; SELECT 2")]);
        let refused = resume_at(&edited[0].up, &past.runs[0], Dialect::Postgres)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("statement 1") && refused.contains("repair --applied 1"),
            "{refused}"
        );

        // A failure that left nothing behind is no state of its own.
        past.runs[0].statements.clear();
        assert_eq!(states(&files, &past)[0], State::Pending);

        let mut past = self::past(&files, &[0, 1]);
        past.runs.push(run(&files[1], Direction::Down, Outcome::Running, 0));
        let entries = compare(&files, &past);
        assert_eq!(entries[1].state, State::PartlyDown { done: 0, total: 1 });
        let refused = to_apply(&files, &entries, &UpOptions::default()).unwrap_err();
        assert_eq!(refused, Refusal::PartlyDown("2".parse().unwrap()));
        assert_eq!(versions(to_take_back(&files, &entries, &Back::Steps(1))), ["2"]);
    }
}
