//! A mailer for development: every mail becomes a file.
//!
//! The files hold live links and codes, so only the user who runs Anteroom may read them, and the log says where a
//! mail is and nothing of what is in it.

mod message;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io, process};

use async_trait::async_trait;
use tracing::info;
use uuid::Uuid;

use anteroom_domain::Timestamp;
use anteroom_ports::{Clock, Mail, MailError, Mailer};

use message::Sender;

/// Keeps every mail as `{time}-{id}.eml` in a folder. The time is the one in the mail's identifier, so that files sort
/// as mails were written, and sending one again replaces its file.
pub struct MailFolder {
    folder: PathBuf,
    sender: Sender,
    clock: Arc<dyn Clock>,
    written: AtomicU64,
}

impl MailFolder {
    /// `from` is `ada@example.com` or `Ada <ada@example.com>`. The folder is made when the first mail is kept.
    /// [`MailError::Permanent`] if `from` is neither.
    pub fn new(folder: impl Into<PathBuf>, from: &str, clock: Arc<dyn Clock>) -> Result<Self, MailError> {
        Ok(Self {
            folder: folder.into(),
            sender: Sender::parse(from)?,
            clock,
            written: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl Mailer for MailFolder {
    fn name(&self) -> &'static str {
        "folder"
    }

    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = message::write(&self.sender, mail, self.clock.now())?;
        let path = self.folder.join(file_name(mail.id));
        // Written under a name of its own first, so that nobody finds half a mail.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let draft = self.folder.join(format!(".{}-{}-{number}.tmp", mail.id, process::id()));
        let (folder, kept) = (self.folder.clone(), path.clone());
        let written = tokio::task::spawn_blocking(move || write(&folder, &draft, &kept, &message));
        match written.await {
            Ok(Ok(())) => {
                info!(event = "mail.kept", path = %path.display());
                Ok(())
            }
            Ok(Err(error)) => Err(MailError::Temporary(format!("{}: {error}", path.display()))),
            Err(_) => Err(MailError::Temporary("the process is stopping".to_owned())),
        }
    }

    /// Whether what is there of the folder's path is a folder; the rest is made with the first mail.
    async fn check(&self) -> Result<(), MailError> {
        let folder = self.folder.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let existing = folder
                .ancestors()
                .find_map(|path| Some((fs::metadata(path).ok()?, path.to_owned())));
            match existing {
                Some((metadata, path)) if !metadata.is_dir() => Err(format!("{} is no folder", path.display())),
                Some((metadata, path)) if metadata.permissions().readonly() => {
                    Err(format!("{} cannot be written", path.display()))
                }
                _ => Ok(()),
            }
        });
        match looked.await {
            Ok(looked) => looked.map_err(MailError::Temporary),
            Err(_) => Err(MailError::Temporary("the process is stopping".to_owned())),
        }
    }
}

/// `20260102T030405.678Z-<id>.eml`; an identifier without a time is the whole name.
fn file_name(id: Uuid) -> String {
    let time = id.get_timestamp().and_then(|time| {
        let (seconds, nanos) = time.to_unix();
        let time = Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()?;
        Some(time.strftime("%Y%m%dT%H%M%S.%3fZ-").to_string())
    });
    format!("{}{id}.eml", time.unwrap_or_default())
}

fn write(folder: &Path, draft: &Path, kept: &Path, message: &[u8]) -> io::Result<()> {
    make_private_folder(folder)?;
    let written = new_private_file(draft)
        .and_then(|mut file| file.write_all(message))
        .and_then(|()| fs::rename(draft, kept));
    if written.is_err() {
        // It may not be there; the first error is the one to tell.
        let _ = fs::remove_file(draft);
    }
    written
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn new_private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use anteroom_testkit::FixedClock;

    use super::*;

    fn mail(id: &str) -> Mail {
        Mail {
            id: id.parse().unwrap(),
            to: "ada@example.com".into(),
            subject: "Hello".into(),
            text: "secret link\n".into(),
            html: String::new(),
            locale: String::new(),
        }
    }

    // 2026-01-02T03:04:05.678Z
    const ID: &str = "019b7ca9-8f2e-7000-8000-000000000001";

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_mail_is_one_private_file_however_often_it_is_sent() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("data/mail");
        let mailer = MailFolder::new(&folder, "no-reply@id.example", Arc::new(FixedClock::new())).unwrap();
        assert!(!folder.exists());
        mailer.send(&mail(ID)).await.unwrap();
        mailer.send(&mail(ID)).await.unwrap();
        mailer
            .send(&mail("00000000-0000-4000-8000-000000000001"))
            .await
            .unwrap();
        let dated = format!("20260102T030405.678Z-{ID}.eml");
        assert_eq!(
            names(&folder),
            ["00000000-0000-4000-8000-000000000001.eml", dated.as_str()]
        );
        assert_eq!((mode(&folder), mode(&folder.join(&dated))), (0o700, 0o600));
        let text = fs::read_to_string(folder.join(dated)).unwrap();
        assert!(
            text.contains(&format!("Message-ID: <{ID}@id.example>\r\n")) && text.ends_with("\r\n\r\nsecret link\r\n")
        );
    }

    #[tokio::test]
    async fn many_at_once_leave_whole_mails_and_no_drafts() {
        let scratch = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new());
        let mailer = Arc::new(MailFolder::new(scratch.path(), "a@b.example", clock).unwrap());
        let sends: Vec<_> = (0..64)
            .map(|_| {
                let mailer = Arc::clone(&mailer);
                tokio::spawn(async move { mailer.send(&mail(ID)).await })
            })
            .collect();
        for send in sends {
            send.await.unwrap().unwrap();
        }
        assert_eq!(names(scratch.path()).len(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_a_temporary_failure() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let mailer = MailFolder::new(file.join("mail"), "a@b.example", Arc::new(FixedClock::new())).unwrap();
        let failed = mailer.send(&mail(ID)).await;
        assert!(matches!(failed, Err(MailError::Temporary(_))), "{failed:?}");
    }
}
