//! Whether a folder is on a disk that outlives the container.

use std::path::Path;

use super::database_target::DatabaseTarget;
use super::settings::Settings;

/// Warns of an embedded database that a restart of the container would throw away.
pub(super) fn warning(settings: &Settings) -> Option<String> {
    let DatabaseTarget::Sqlite(path) = settings.database() else {
        return None;
    };
    if !settings.is_production() {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let kind = file_system(&mounts, &path)?;
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
    fn the_innermost_mount_counts() {
        let mounts = "overlay / overlay rw 0 0\n/dev/vda /data ext4 rw 0 0\ntmpfs /data/my\\040run tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/app/data/a.db")), Some("overlay"));
        assert_eq!(file_system(mounts, Path::new("/data/a.db")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/database/a.db")), Some("overlay"));
        assert_eq!(file_system(mounts, Path::new("/data/my run/a.db")), Some("tmpfs"));
    }
}
