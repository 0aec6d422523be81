//! Owns: the files of a recording: how they are made, named, owned, followed by others and removed.
//! Must not know: what is in them, who writes to them.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{Destination, OutputError};
use crate::host::caps::Cap;
use crate::host::files::{Existing, Folder, Id, Taken, named};
use crate::host::sandbox::Needs;
use crate::model::escape;
use crate::model::ordering::Ordered as _;
use crate::output::Next;

/// For the owner only: names of processes, programs and cgroups are in it, and the command that was recorded.
const MODE: u32 = 0o600;

/// How often the next file is looked for where somebody takes the names.
const TRIES: usize = 16;

/// A file that we made.
#[derive(Debug)]
struct Made {
    name: OsString,
    id: Id,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Files {
    destination: Destination,
    folder: Folder,
    /// The file as it is named for now; `None` once nothing is to be undone.
    unproven: Option<Made>,
    /// The file that is written to, where there is one.
    current: Option<Made>,
    /// Those before it that are there, the oldest first.
    before: VecDeque<Made>,
    /// Which file that is, from 0.
    part: u64,
    /// The number in its name; another one where somebody took names, or files of an earlier run count.
    number: u64,
    /// What every part begins with is in the file that is written to.
    has_head: bool,
}

impl Files {
    /// Opens the first of them. Where there is a FIFO or a device instead, there are none.
    pub(super) fn open(destination: &Destination) -> Result<(File, Option<Self>), OutputError> {
        let failed = |error| OutputError::Io(escape::path(&destination.path_of(0)), error);
        let (folder, _) = Folder::of(&destination.path, destination.owner.as_ref().map(|owner| owner.uid))
            .map_err(failed)?;
        let found = if destination.rotation.resumes { destination.parts(&folder) } else { Vec::new() };
        let number = found.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        let name = destination.name(number);
        let taken = match folder.find(&name).map_err(failed)? {
            Existing::Stream(file) => return Ok((file, None)),
            Existing::NoFile => return Err(failed(io::Error::other("it is no file"))),
            Existing::Taken(taken) => Some(taken),
            Existing::Nothing if destination.rotation.resumes || destination.parts(&folder).is_empty() => {
                None
            }
            Existing::Nothing => Some(Taken::File),
        };
        if let Some(taken) = taken.filter(|_| !destination.force) {
            return Err(OutputError::Exists(escape::path(&destination.path_of(0)), taken));
        }
        // What is to be replaced stays until there is something to replace it with.
        let made = match taken {
            Some(_) => folder.make_beside(&name, MODE, destination.owner_ids()),
            None => folder.make(&name, MODE, destination.owner_ids()).map(|(file, id)| (file, id, name)),
        };
        let (file, id, name) = made.map_err(failed)?;
        let (unproven, before) = (Some(Made { name, id }), kept(found, &folder));
        let destination = destination.clone();
        let (current, part, has_head) = (None, 0, false);
        Ok((file, Some(Self { destination, folder, unproven, current, before, part, number, has_head })))
    }

    /// Tracing has begun: what was to be replaced goes.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let Some(Made { name: now, id }) = self.unproven.take() else { return Ok(()) };
        let name = self.destination.name(self.number);
        if now != name {
            let replace = || {
                for (_, old) in self.destination.parts(&self.folder) {
                    self.folder.remove(&old)?;
                }
                self.folder.rename(&now, &name)
            };
            let replaced = replace();
            if replaced.is_err() {
                self.folder.remove_own(&now, id);
            }
            replaced.map_err(|error| of_file(&self.path(), error))?;
        }
        self.current = Some(Made { name, id });
        Ok(())
    }

    /// Whether what is written to a file of theirs could be read.
    pub(super) fn check(&self, file: impl AsFd) -> io::Result<()> {
        named(file).map_err(|error| of_file(&self.path(), error))
    }

    /// Makes the next one. A number whose name somebody else took is passed over.
    pub(super) fn go_on(&mut self) -> io::Result<Next> {
        (self.part, self.has_head) = (self.part + 1, false);
        self.before.extend(self.current.take());
        let (mut number, mut taken) = (self.number + 1, BTreeSet::new());
        for _ in 0..TRIES {
            let name = self.destination.name(number);
            match self.folder.make(&name, MODE, self.destination.owner_ids()) {
                Ok((next, id)) => {
                    (self.number, self.current) = (number, Some(Made { name, id }));
                    return Ok(Next { fd: next.into(), name: escape::path(&self.path()) });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    taken.extend(self.destination.parts(&self.folder).into_iter().map(|(number, _)| number));
                    taken.insert(number);
                    number = (number..u64::MAX).find(|number| !taken.contains(number)).unwrap_or(number);
                }
                Err(error) => return Err(of_file(&self.destination.path_of(number), error)),
            }
        }
        let error =
            io::Error::other("somebody else takes the names of its files; remedy: a folder of your own");
        Err(of_file(&self.destination.path_of(number), error))
    }

    /// The one that is written to has its head: removes those that are not to be kept.
    pub(super) fn head_ends(&mut self) {
        self.has_head = true;
        let Some(keep) = self.destination.rotation.keep else { return };
        while (self.before.len() + usize::from(self.current.is_some())) as u64 > keep {
            let Some(old) = self.before.pop_front() else { return };
            self.folder.remove_own(&old.name, old.id);
        }
    }

    /// Removes the one that is written to, if that is this one or has no head: whoever makes parts may be ahead, and those before it are whole.
    pub(super) fn discard(&mut self, part: u64) {
        if part != self.part && self.has_head {
            return;
        }
        if let Some(made) = self.unproven.take().or_else(|| self.current.take()) {
            self.folder.remove_own(&made.name, made.id);
        }
    }

    /// What making more of them takes, or removing them where there is to be none after all (`is_refused`).
    pub(super) fn needs(&self, is_refused: bool) -> Needs {
        if !self.destination.rotation.is_on() && !is_refused {
            return Needs::default();
        }
        let mut caps = Vec::new();
        if self.destination.owner.is_some() {
            caps.push(Cap::Chown);
        }
        if self.destination.owner.is_some() || !self.folder.is_ours().unwrap_or(false) {
            caps.extend([Cap::DacOverride, Cap::Fowner]);
        }
        Needs { files: true, caps, ..Needs::default() }
    }

    /// The one that is written to.
    pub(super) fn path(&self) -> PathBuf {
        self.destination.path_of(self.number)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(made) = &self.unproven {
            // It was made by us and never came to anything.
            self.folder.remove_own(&made.name, made.id);
        }
    }
}

/// Files of ours among those that were found, the oldest first.
fn kept(mut found: Vec<(u64, OsString)>, folder: &Folder) -> VecDeque<Made> {
    found.order_by(Ord::cmp);
    found.into_iter().filter_map(|(_, name)| Some(Made { id: folder.own(&name)?, name })).collect()
}

fn of_file(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", escape::path(path)))
}
