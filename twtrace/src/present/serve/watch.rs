//! Owns: whether files are others than before: certificates, tokens and headers are exchanged while `serve` runs.
//! Must not know: what is in them, what becomes of it.
//!
//! Files are opened for reading only, which is what a trace may still do once power was given up.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often files are looked at, at most.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// By which a file is known to be another one: device, inode, length, time of change in seconds and nanoseconds. The time is that of the
/// inode: chmod(1) mends a file as well, and whoever copies a file may give it the time of the old one.
type Stamp = (u64, u64, u64, i64, i64);

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// Of the files that were tried last, whether they served or not: what is wrong with one is said once.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

impl Watch {
    /// Of files that are read for the first time after this.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let stamps = stamps(&files);
        Self { files, stamps, looked: Instant::now() }
    }

    /// Whether one of them is another one than it was, as far as it is time to look. It is to be read then.
    pub(super) fn has_changed(&mut self) -> bool {
        if self.looked.elapsed() < EVERY {
            return false;
        }
        self.looked = Instant::now();
        let stamps = stamps(&self.files);
        let has_changed = stamps != self.stamps;
        self.stamps = stamps;
        has_changed
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("one"), "old").unwrap();
        symlink("one", path("link")).unwrap();
        let mut watch = Watch::new(vec![path("link"), path("none")]);
        let mut told = || {
            watch.looked -= EVERY;
            (watch.has_changed(), watch.has_changed())
        };
        assert_eq!(told(), (false, false));
        std::fs::write(path("one"), "newer").unwrap();
        assert_eq!(told(), (true, false));
        assert_eq!(told(), (false, false));
        // As a volume of Kubernetes does it: what the link leads to is another file.
        std::fs::write(path("two"), "newer").unwrap();
        symlink("two", path("link.new")).unwrap();
        std::fs::rename(path("link.new"), path("link")).unwrap();
        assert_eq!(told(), (true, false));
        std::fs::set_permissions(path("two"), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(told(), (true, false));
        std::fs::remove_file(path("two")).unwrap();
        assert_eq!(told(), (true, false));
        assert_eq!(told(), (false, false));
        std::fs::write(path("none"), "").unwrap();
        assert_eq!(told(), (true, false));
    }
}
