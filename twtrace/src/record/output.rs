//! Owns: the file, or files, that a recording goes to: how they are made, named, owned and followed by others.
//! Must not know: what is in them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::user::Caller;
use crate::escape::printable;

/// When a recording goes on in another file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Once a file has this many bytes.
    pub size: Option<u64>,
    /// Once a file is this old.
    pub every: Option<Duration>,
    /// Files that are kept, the one that is written to included; `None` keeps all.
    pub keep: Option<u64>,
}

impl Rotation {
    /// Whether there is more than one file at all.
    pub fn is_on(&self) -> bool {
        self.size.is_some() || self.every.is_some()
    }
}

/// Why a recording cannot go where it should.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is something already.
    #[error("cannot record to {0}: it exists; remedy: another name, or --force to replace it")]
    Exists(String),
    /// The kernel does not let us.
    #[error("cannot record to {0}: {1}")]
    Io(String, io::Error),
}

/// Where a recording is to go.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file, or the name that those of a rotated recording are made of; `-` is stdout.
    pub path: PathBuf,
    /// Replace what is there.
    pub force: bool,
    /// Into several files.
    pub rotation: Rotation,
    /// Whose the files are to be.
    pub owner: Option<Caller>,
}

enum Target {
    Stdout(io::Stdout),
    File(File),
}

/// A recording on its way to disk.
pub struct Output {
    place: Place,
    target: Target,
    /// The file as it is named for now; `None` once nothing is to be undone, and for what is no file of ours.
    unproven: Option<PathBuf>,
    part: u64,
    written: u64,
    total: u64,
}

impl Output {
    /// Opens the first file: a bad name is found before anything is traced.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn open(place: Place) -> Result<Self, OutputError> {
        let new = |place, target, unproven| Self { place, target, unproven, part: 0, written: 0, total: 0 };
        if place.path.as_os_str() == "-" {
            return Ok(new(place, Target::Stdout(io::stdout()), None));
        }
        let path = place.name(0);
        let failed = |error| OutputError::Io(shown(&path), error);
        let found = fs::metadata(&path).map(|found| found.file_type()).ok();
        if found.is_some_and(|found| found.is_char_device() || found.is_fifo()) {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            return Ok(new(place, Target::File(file), None));
        }
        if found.is_some_and(|found| !found.is_file()) {
            return Err(failed(io::Error::other("it is no file")));
        }
        let taken = fs::symlink_metadata(&path).is_ok() || !place.parts().is_empty();
        if taken && !place.force {
            return Err(OutputError::Exists(shown(&path)));
        }
        // What is to be replaced stays until there is something to replace it with.
        let made = if taken { place.beside() } else { path.clone() };
        let file = place.create(&made).map_err(failed)?;
        Ok(new(place, Target::File(file), Some(made)))
    }

    /// Tracing has begun: what was to be replaced goes.
    ///
    /// # Errors
    /// What the kernel says of renaming the file.
    pub fn begin(&mut self) -> io::Result<()> {
        let Some(made) = self.unproven.take() else { return Ok(()) };
        let name = self.place.name(0);
        if made != name {
            for (_, old) in self.place.parts() {
                fs::remove_file(&old).map_err(|error| self.named(error))?;
            }
            fs::rename(&made, &name).map_err(|error| self.named(error))?;
        }
        Ok(())
    }

    /// Writes `bytes` in one go and empties them.
    ///
    /// # Errors
    /// What the kernel says, with the name of the file.
    pub fn write(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let done = match &mut self.target {
            Target::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Target::File(file) => file.write_all(bytes),
        };
        done.map_err(|error| self.named(error))?;
        self.written += bytes.len() as u64;
        self.total += bytes.len() as u64;
        bytes.clear();
        Ok(())
    }

    /// Whether the file is full.
    pub fn is_full(&self) -> bool {
        self.place.rotation.size.is_some_and(|size| self.written >= size)
    }

    /// Goes on in the next file, and removes those that are not to be kept.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.part += 1;
        let path = self.place.name(self.part);
        self.target = Target::File(self.place.create(&path).map_err(|error| self.named(error))?);
        self.written = 0;
        if let Some(old) = self.place.rotation.keep.and_then(|keep| self.part.checked_sub(keep)) {
            // Somebody may have taken it away, which is as well.
            let _ = fs::remove_file(self.place.name(old));
        }
        Ok(())
    }

    /// How old a file may get.
    pub fn rotate_every(&self) -> Option<Duration> {
        self.place.rotation.every
    }

    /// Which file this is, from 0.
    pub fn part(&self) -> u64 {
        self.part
    }

    /// Bytes written, all files together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The file that is written to, escaped.
    pub fn shown(&self) -> String {
        if self.place.path.as_os_str() == "-" {
            "stdout".to_owned()
        } else {
            shown(&self.place.name(self.part))
        }
    }

    /// Nothing was recorded after all: removes the file that was begun.
    pub fn discard(mut self) {
        if self.unproven.is_none() && matches!(self.target, Target::File(_)) {
            let name = self.place.name(0);
            self.unproven = fs::symlink_metadata(&name).is_ok_and(|found| found.is_file()).then_some(name);
        }
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(path) = &self.unproven {
            // It was made by us and never came to anything.
            let _ = fs::remove_file(path);
        }
    }
}

impl Place {
    /// The file of one part: `load.twt`, or of a rotated recording `load.0.twt`, `load.1.twt`.
    fn name(&self, part: u64) -> PathBuf {
        if !self.rotation.is_on() {
            return self.path.clone();
        }
        let mut name = self.path.file_stem().map_or_else(OsString::new, OsString::from);
        name.push(format!(".{part}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// The parts of a rotated recording that are there already.
    fn parts(&self) -> Vec<(u64, PathBuf)> {
        if !self.rotation.is_on() {
            return Vec::new();
        }
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let part_of = |found: PathBuf| {
            let number =
                found.file_name()?.to_str()?.rsplit('.').find_map(|word| word.parse::<u64>().ok())?;
            let name = self.name(number);
            (name.file_name() == found.file_name()).then_some((number, name))
        };
        entries.filter_map(|entry| part_of(entry.path())).collect()
    }

    /// A name beside the file, for as long as the file itself is not to be touched.
    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        self.path.with_file_name(name)
    }

    /// Makes a file that was not there, for its owner only.
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        if let Some(owner) = &self.owner {
            fchown(&file, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        Ok(file)
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}
