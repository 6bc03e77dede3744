//! `anteroom users import`: JSON lines become accounts, a batch a commit.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anteroom_domain::Timestamp;
use anteroom_domain::accounts::{Email, ForeignHash, ForeignParts};
use anteroom_services::Accounts;
use anteroom_services::accounts::{ImportUser, Imported};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

use super::super::{say, say_error};
use super::services;
use crate::cli::UsersImportArgs;
use crate::config::Settings;

/// Users in one commit: few enough that a server beside it waits for none of them, enough that the disk is not what
/// it waits for.
const BATCH: usize = 500;

/// No longer line is a user.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How often the progress is written.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// One line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    email: String,
    #[serde(default)]
    email_verified: bool,
    name: Option<String>,
    locale: Option<String>,
    password_hash: Option<Value>,
    created_at: Option<Timestamp>,
    role: Option<String>,
}

/// Reads a line. What is wrong is said without repeating what may be a hash.
fn read(text: &[u8]) -> Result<ImportUser, String> {
    if text.len() > MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes"));
    }
    let line: Line = serde_json::from_slice(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => e.to_string(),
        _ => format!("not a JSON object (column {})", e.column()),
    })?;
    if line.role.is_some_and(|role| role != "user") {
        return Err("role: an import makes users only; `anteroom admin create` makes admins".to_owned());
    }
    Ok(ImportUser {
        email: line.email,
        email_verified: line.email_verified,
        name: line.name,
        locale: line.locale,
        password: line
            .password_hash
            .map(|hash| foreign(hash).map_err(|e| format!("password_hash: {e}")))
            .transpose()?,
        created_at: line.created_at,
    })
}

fn foreign(hash: Value) -> Result<ForeignHash, String> {
    let hash = match hash {
        Value::String(text) => ForeignHash::parse(&text),
        parts @ Value::Object(_) => {
            // Its error would repeat the value that it does not like.
            let parts = serde_json::from_value::<ForeignParts>(parts)
                .map_err(|_| "a member is unknown, missing or of the wrong kind".to_owned())?;
            ForeignHash::from_parts(&parts)
        }
        _ => return Err("neither a text nor an object".to_owned()),
    };
    hash.map_err(|e| e.to_string())
}

#[derive(Default)]
struct Counts {
    added: u64,
    known: u64,
    bad: u64,
}

/// A line on the terminal that is written over; nothing where nobody looks.
struct Progress {
    shown: bool,
    bytes: u64,
    read: u64,
    last: Instant,
}

impl Progress {
    fn new(bytes: u64) -> Self {
        Self {
            shown: stderr().is_terminal(),
            bytes: bytes.max(1),
            read: 0,
            last: Instant::now(),
        }
    }

    fn show(&mut self, line: u64, counts: &Counts) {
        if self.shown && self.last.elapsed() >= SHOW_EVERY {
            self.last = Instant::now();
            let percent = self.read.min(self.bytes) * 100 / self.bytes;
            let bar = "#".repeat(usize::try_from(percent / 4).unwrap_or(25));
            let _ = write!(
                stderr(),
                "\r[{bar:<25}] {percent:>3} %  line {line}: {} added, {} known, {} bad\x1b[K",
                counts.added,
                counts.known,
                counts.bad
            );
        }
    }

    /// Takes it away, before something else is written.
    fn clear(&self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

struct Import<'a> {
    accounts: &'a Accounts,
    dry_run: bool,
    /// Without commits nobody else remembers which addresses the file has had.
    seen: HashSet<String>,
    counts: Counts,
    progress: Progress,
}

impl Import<'_> {
    fn refuse(&mut self, line: u64, reason: &str) {
        self.counts.bad += 1;
        self.progress.clear();
        say_error(&format!("line {line}: {reason}"));
    }

    async fn commit(&mut self, batch: &mut Vec<(u64, ImportUser)>) -> anyhow::Result<()> {
        let Some((first, _)) = batch.first() else {
            return Ok(());
        };
        let first = *first;
        let (lines, users): (Vec<u64>, Vec<ImportUser>) = batch.drain(..).unzip();
        let folded: Vec<String> = users.iter().map(|user| Email::fold(&user.email)).collect();
        let outcomes =
            self.accounts.import_users(users, self.dry_run).await.with_context(|| {
                format!("nothing from line {first} on was imported; go on with --from-line {first}")
            })?;
        for ((line, outcome), folded) in lines.into_iter().zip(outcomes).zip(folded) {
            match outcome {
                Imported::Added if self.dry_run && !self.seen.insert(folded) => self.counts.known += 1,
                Imported::Added => self.counts.added += 1,
                Imported::Known => self.counts.known += 1,
                Imported::Refused(reasons) => self.refuse(line, &reasons.join("; ")),
            }
        }
        Ok(())
    }
}

pub(super) async fn run(args: &UsersImportArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let named = || args.file.display().to_string();
    let file = File::open(&args.file).with_context(named)?;
    let bytes = file.metadata().with_context(named)?.len();
    let mut from = BufReader::new(file);
    let services = services(settings).await?;
    let mut import = Import {
        accounts: &services.accounts,
        dry_run: args.dry_run,
        seen: HashSet::new(),
        counts: Counts::default(),
        progress: Progress::new(bytes),
    };
    let (mut text, mut batch, mut number) = (Vec::new(), Vec::with_capacity(BATCH), 0);
    loop {
        text.clear();
        let read_bytes = from.read_until(b'\n', &mut text).with_context(named)?;
        if read_bytes == 0 {
            break;
        }
        number += 1;
        import.progress.read += read_bytes as u64;
        if number < args.from_line || text.trim_ascii().is_empty() {
            continue;
        }
        match read(&text) {
            Ok(user) => batch.push((number, user)),
            Err(reason) => import.refuse(number, &reason),
        }
        if batch.len() == BATCH {
            import.commit(&mut batch).await?;
        }
        import.progress.show(number, &import.counts);
    }
    import.commit(&mut batch).await?;
    import.progress.clear();
    if number < args.from_line {
        bail!("{} has {number} lines, none from line {} on", named(), args.from_line);
    }
    let Counts { added, known, bad } = import.counts;
    let (done, note) = if args.dry_run {
        ("would be added", " (nothing was changed)")
    } else {
        ("added", "")
    };
    say(&format!(
        "{added} users {done}, {known} had an account already, {bad} lines were not taken{note}"
    ));
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_member_by_member() {
        let all = r#"{"email":"ada@example.com","email_verified":true,"name":"Ada","locale":"de","role":"user",
            "created_at":"2020-01-01T00:00:00Z","password_hash":"$2b$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq"}"#;
        let user = read(all.as_bytes()).unwrap();
        assert!(user.email_verified && user.password.is_some() && user.created_at.is_some());
        let user = read(br#"{"email":"ada@example.com"}"#).unwrap();
        assert!(!user.email_verified && user.password.is_none());
        let null = br#"{"email":"ada@example.com","name":null,"password_hash":null}"#;
        assert!(read(null).unwrap().password.is_none());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_hash() {
        let secret = "c2VjcmV0c2VjcmV0c2VjcmV0";
        for (text, named) in [
            ("", "JSON"),
            ("[]", "expected"),
            ("{\"email\":\"a@example.com\"", "JSON"),
            (r#"{"name":"Ada"}"#, "email"),
            (r#"{"email":"a@example.com","admin":true}"#, "admin"),
            (r#"{"email":"a@example.com","role":"admin"}"#, "admin create"),
            (r#"{"email":"a@example.com","created_at":"yesterday"}"#, "column"),
            (r#"{"email":"a@example.com","password_hash":7}"#, "password_hash"),
            (
                r#"{"email":"a@example.com","password_hash":"c2VjcmV0c2VjcmV0c2VjcmV0"}"#,
                "password_hash",
            ),
            (
                r#"{"email":"a@example.com","password_hash":{"algorithm":"scrypt","hash":"x","salt":"y","n":"c2VjcmV0c2VjcmV0c2VjcmV0"}}"#,
                "password_hash",
            ),
        ] {
            let reason = read(text.as_bytes()).unwrap_err();
            assert!(reason.contains(named), "{text}: {reason}");
            assert!(!reason.contains(secret), "{reason}");
        }
        assert!(read(&vec![b' '; MAX_LINE_BYTES + 1]).is_err());
    }
}
