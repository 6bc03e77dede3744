//! Whether a folder is on a disk that outlives the container.

use std::path::Path;

use super::database_target::DatabaseTarget;
use super::settings::Settings;

/// Warns of an embedded database that a restart of the container would throw away.
pub(super) fn warning(settings: &Settings) -> Option<String> {
    warning_by(settings, &std::fs::read_to_string("/proc/self/mounts").ok()?)
}

fn warning_by(settings: &Settings, mounts: &str) -> Option<String> {
    let DatabaseTarget::Sqlite(path) = settings.database() else {
        return None;
    };
    if !settings.is_production() {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    let kind = file_system(mounts, &path)?;
    matches!(kind, "overlay" | "tmpfs" | "ramfs" | "aufs").then(|| {
        format!(
            "the database {} is on a disk ({kind}) that a new container or a restart throws away: mount a \
             volume there, or set DATABASE_URL to a PostgreSQL server",
            path.display()
        )
    })
}

/// The kind of the file system that holds a path, from the lines of `/proc/self/mounts` (`man 5 proc_pid_mounts`).
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let mut words = line.split(' ');
        // A space in a path is written \040.
        let place = words.nth(1)?.replace("\\040", " ");
        let kind = words.next()?;
        path.starts_with(&place).then_some((place.len(), kind))
    };
    // The longest place holds it, the last one of equals: a mount hides what was mounted there before.
    mounts
        .lines()
        .filter_map(mount)
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_database_on_a_disk_that_does_not_last_is_warned_of_in_production() {
        let settings = |env: &str, database: &str| {
            let set = [
                ("ANTEROOM_ENV", env),
                ("SECRET_KEY", "8sZ0cV2nK4pL6qR8tW1yB3dF5hJ7mN9xQ0uE2gI4kM6"),
                ("DATABASE_URL", database),
            ];
            let env = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let input = super::super::LoadInput {
                env,
                ..Default::default()
            };
            super::super::load(input).unwrap().settings
        };
        let (file, server) = ("sqlite:///data/a.db", "postgres://me@db.example/app");
        let (passing, lasting) = (
            "overlay / overlay rw 0 0\n",
            "overlay / overlay rw 0 0\n/dev/vda /data ext4 rw 0 0\n",
        );
        let warned = warning_by(&settings("production", file), passing).unwrap();
        assert!(
            warned.contains("/data/a.db") && warned.contains("DATABASE_URL"),
            "{warned}"
        );
        assert_eq!(warning_by(&settings("production", file), lasting), None);
        assert_eq!(warning_by(&settings("production", server), passing), None);
        assert_eq!(warning_by(&settings("development", file), passing), None);
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "overlay / overlay rw 0 0\n/dev/vda /data ext4 rw 0 0\ntmpfs /data/my\\040run tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/app/data/a.db")), Some("overlay"));
        assert_eq!(file_system(mounts, Path::new("/data/a.db")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/database/a.db")), Some("overlay"));
        assert_eq!(file_system(mounts, Path::new("/data/my run/a.db")), Some("tmpfs"));
    }
}
