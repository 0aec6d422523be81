//! Owns: where a recording is to go: the names of its files, and when it goes on in another one.
//! Must not know: how a file is made.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Gid, Uid};

use crate::host::files::Folder;
use crate::present::record::user::Caller;

/// When a recording goes on in another file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Once a file has this many bytes.
    pub size: Option<u64>,
    /// Once a file is this old.
    pub every: Option<Duration>,
    /// Files that are kept, the one that is written to included; `None` keeps all.
    pub keep: Option<u64>,
    /// Files of an earlier run stay, and count as kept: their numbers go on.
    pub resumes: bool,
}

impl Rotation {
    /// Whether there is more than one file at all.
    pub fn is_on(&self) -> bool {
        self.size.is_some() || self.every.is_some()
    }
}

/// Where a recording is to go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The file, or the name that those of a rotated recording are made of; `-` is stdout.
    pub path: PathBuf,
    /// Replace what is there.
    pub force: bool,
    /// Into several files.
    pub rotation: Rotation,
    /// Whose the files are to be.
    pub owner: Option<Caller>,
}

impl Destination {
    /// The name of one part: `load.twt`, or of a rotated recording `load.0.twt`, `load.1.twt`.
    pub(super) fn name(&self, part: u64) -> OsString {
        if !self.rotation.is_on() {
            return self.path.file_name().unwrap_or_default().to_owned();
        }
        let mut name = self.path.file_stem().map_or_else(OsString::new, OsString::from);
        name.push(format!(".{part}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        name
    }

    pub(super) fn path_of(&self, part: u64) -> PathBuf {
        if !self.rotation.is_on() {
            return self.path.clone();
        }
        self.path.with_file_name(self.name(part))
    }

    /// The parts of a rotated recording that are there already.
    pub(super) fn parts(&self, folder: &Folder) -> Vec<(u64, OsString)> {
        if !self.rotation.is_on() {
            return Vec::new();
        }
        let part_of = |found: OsString| {
            let number = found.to_str()?.rsplit('.').find_map(|word| word.parse::<u64>().ok())?;
            (self.name(number) == found).then_some((number, found))
        };
        // A folder that one may write into and not read has none that we know of.
        folder.names().into_iter().flatten().filter_map(part_of).collect()
    }

    pub(super) fn owner_ids(&self) -> Option<(Uid, Gid)> {
        self.owner.as_ref().map(|owner| (owner.uid, owner.gid))
    }
}
