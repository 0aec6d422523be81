//! Owns: what files have, read again when they are others than before: certificates, tokens and headers are exchanged while `serve` runs.
//! Must not know: what is in them, what becomes of it.
//!
//! Files are opened for reading only, which is what a trace may still do once power was given up.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::escape;

/// How often files are looked at, at most.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// By which a file is known to be another one: device, inode, length, time of change in seconds and nanoseconds. The time is that of the
/// inode: chmod(1) mends a file as well, and whoever copies a file may give it the time of the old one.
type Stamp = (u64, u64, u64, i64, i64);

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Watched<T> {
    value: T,
    /// In words for a user.
    what: &'static str,
    watch: Watch,
}

impl<T> Watched<T> {
    /// `read` makes it of these files.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read(
        what: &'static str,
        files: Vec<PathBuf>,
        read: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Self> {
        let watch = Watch::new(files);
        Ok(Self { value: read()?, what, watch })
    }

    /// As it was read last.
    pub(super) fn get(&self) -> &T {
        &self.value
    }

    /// As the files have it by now; errors of `read` name the file. What cannot be used leaves what was.
    pub(super) fn current(&mut self, read: impl FnOnce() -> io::Result<T>) -> &T {
        self.changed(read);
        &self.value
    }

    /// As [`Self::current`], where that is another one than it was.
    pub(super) fn changed(&mut self, read: impl FnOnce() -> io::Result<T>) -> Option<&T> {
        if !self.watch.has_changed() {
            return None;
        }
        let Self { what, watch, .. } = self;
        match read() {
            Ok(value) => {
                let path = watch.files.first().map(|path| escape::path(path)).unwrap_or_default();
                crate::note!("twtrace: read {what} again from {path}");
                self.value = value;
                Some(&self.value)
            }
            Err(error) => {
                crate::note!("twtrace: {error}; still in use: {what} as read before");
                None
            }
        }
    }

    /// It is time to look at the files again.
    #[cfg(test)]
    pub(super) fn expire(&mut self) {
        self.watch.looked -= EVERY;
    }
}

/// Whether files are others than before.
#[derive(Debug)]
struct Watch {
    files: Vec<PathBuf>,
    /// Of the files that were tried last, whether they served or not: what is wrong with one is said once.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

impl Watch {
    /// Of files that are read for the first time after this.
    fn new(files: Vec<PathBuf>) -> Self {
        let stamps = stamps(&files);
        Self { files, stamps, looked: Instant::now() }
    }

    /// Whether one of them is another one than it was, as far as it is time to look. It is to be read then.
    fn has_changed(&mut self) -> bool {
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
