//! Owns: the file, or files, that a recording goes to: how they are made, named, owned and followed by others.
//! Must not know: what is in them.

mod destination;
mod reader;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::host::caps::Cap;
use crate::host::files::{Folder, Found, Id, Taken, named};
use crate::host::sandbox::Needs;
use crate::model::escape;
use crate::output::Writer;

pub use destination::{Destination, Rotation};

/// For the owner only: names of processes, programs and cgroups are in it, and the command that was recorded.
const MODE: u32 = 0o600;

/// How often the next file is looked for where somebody takes the names.
const TRIES: usize = 16;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is something already.
    #[error("cannot write to {0}: {1}; remedy: another name, or --force to replace it")]
    Exists(String, Taken),
    /// The kernel does not let us.
    #[error("cannot write to {0}: {1}")]
    Io(String, io::Error),
}

enum Target {
    Stdout(io::Stdout),
    /// A FIFO or a device that was there.
    Stream(File),
    File(File, Folder),
    /// Any of them that has a reader, who is not waited for.
    Reader(Writer),
}

/// A file that we made.
#[derive(Debug)]
struct Made {
    name: OsString,
    id: Id,
}

/// A recording on its way to disk.
pub struct Output {
    destination: Destination,
    target: Target,
    /// The file as it is named for now; `None` once nothing is to be undone, and for what is no file of ours.
    unproven: Option<Made>,
    /// Files that are there, the oldest first.
    made: VecDeque<Made>,
    part: u64,
    /// The number in the name of the file, which is `part` unless somebody took that name.
    number: u64,
    written: u64,
    /// Of that, what every part begins with, once all of it is written.
    head: Option<u64>,
    total: u64,
}

impl Output {
    /// Opens the first file: a bad name is found before anything is traced.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn open(destination: Destination) -> Result<Self, OutputError> {
        if destination.path.as_os_str() == "-" {
            return Ok(Self::new(destination, Target::Stdout(io::stdout()), None));
        }
        let failed = |error| OutputError::Io(escape::path(&destination.path_of(0)), error);
        let (folder, _) = Folder::of(&destination.path, destination.owner.as_ref().map(|owner| owner.uid))
            .map_err(failed)?;
        let before = if destination.rotation.resumes { destination.parts(&folder) } else { Vec::new() };
        let number = before.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        let name = destination.name(number);
        let taken = match folder.find(&name).map_err(failed)? {
            Found::Stream(file) => return Ok(Self::new(destination, Target::Stream(file), None)),
            Found::NoFile => return Err(failed(io::Error::other("it is no file"))),
            Found::Taken(taken) => Some(taken),
            Found::Nothing if destination.rotation.resumes || destination.parts(&folder).is_empty() => None,
            Found::Nothing => Some(Taken::File),
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
        let made = kept(before, &folder);
        let mut output = Self::new(destination, Target::File(file, folder), Some(Made { name, id }));
        (output.number, output.made) = (number, made);
        Ok(output)
    }

    fn new(destination: Destination, target: Target, unproven: Option<Made>) -> Self {
        Self {
            destination,
            target,
            unproven,
            made: VecDeque::new(),
            part: 0,
            number: 0,
            written: 0,
            head: None,
            total: 0,
        }
    }

    /// Tracing has begun: what was to be replaced goes.
    ///
    /// # Errors
    /// What the kernel says of renaming the file.
    pub fn begin(&mut self) -> io::Result<()> {
        let Target::File(_, folder) = &self.target else { return Ok(()) };
        let Some(Made { name: now, id }) = self.unproven.take() else { return Ok(()) };
        let name = self.destination.name(self.number);
        if now != name {
            let replace = || {
                for (_, old) in self.destination.parts(folder) {
                    folder.remove(&old)?;
                }
                folder.rename(&now, &name)
            };
            let replaced = replace();
            if replaced.is_err() {
                folder.remove_own(&now, id);
            }
            replaced.map_err(|error| self.of_this(error))?;
        }
        self.made.push_back(Made { name, id });
        Ok(())
    }

    /// Writes `bytes` in one go and empties them.
    ///
    /// # Errors
    /// What the kernel says, with the name of the file.
    pub fn write(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.write_events(bytes, 0)
    }

    /// The same, with so many events in them, which are counted where nobody reads them in time.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn write_events(&mut self, bytes: &mut Vec<u8>, events: u64) -> io::Result<()> {
        self.write_all(bytes, events)?;
        bytes.clear();
        Ok(())
    }

    /// Writes `bytes` in one go.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes, 0)
    }

    fn write_all(&mut self, bytes: &[u8], events: u64) -> io::Result<()> {
        let done = match &mut self.target {
            Target::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Target::Stream(file) => file.write_all(bytes),
            Target::File(file, _) => named(file).and_then(|()| file.write_all(bytes)),
            Target::Reader(writer) => reader::hand_over(writer, bytes, events),
        };
        done.map_err(|error| self.of_this(error))?;
        self.written += bytes.len() as u64;
        self.total += bytes.len() as u64;
        Ok(())
    }

    /// What was written so far is what every part begins with, and does not count. Only now those that are not to be kept are removed: a file
    /// that came to nothing would have cost an old one.
    pub fn head_ends(&mut self) {
        self.head = Some(self.written);
        self.remove_old();
    }

    /// Whether nothing is in the file but what every part begins with.
    pub fn is_bare(&self) -> bool {
        self.head.is_none_or(|head| self.written <= head)
    }

    /// Whether the file is full.
    pub fn is_full(&self) -> bool {
        let is_full = |size| self.written.saturating_sub(self.head.unwrap_or(0)) >= size;
        self.destination.rotation.size.is_some_and(is_full)
    }

    /// Goes on in the next file. A number whose name somebody else took is passed over.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn go_on(&mut self) -> io::Result<()> {
        let Target::File(file, folder) = &mut self.target else { return Ok(()) };
        let (mut number, mut taken) = (self.number + 1, BTreeSet::new());
        for _ in 0..TRIES {
            let name = self.destination.name(number);
            match folder.make(&name, MODE, self.destination.owner_ids()) {
                Ok((next, id)) => {
                    *file = next;
                    self.made.push_back(Made { name, id });
                    (self.number, self.part, self.written, self.head) = (number, self.part + 1, 0, None);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    taken.extend(self.destination.parts(folder).into_iter().map(|(number, _)| number));
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

    fn remove_old(&mut self) {
        let Target::File(_, folder) = &self.target else { return };
        while self.destination.rotation.keep.is_some_and(|keep| self.made.len() as u64 > keep) {
            if let Some(old) = self.made.pop_front() {
                folder.remove_own(&old.name, old.id);
            }
        }
    }

    /// What making more files takes, or removing them where there is to be none after all (`is_refused`).
    pub fn needs(&self, is_refused: bool) -> Needs {
        let Target::File(_, folder) = &self.target else { return Needs::default() };
        if !self.destination.rotation.is_on() && !is_refused {
            return Needs::default();
        }
        let mut caps = Vec::new();
        if self.destination.owner.is_some() {
            caps.push(Cap::Chown);
        }
        if self.destination.owner.is_some() || !folder.is_ours().unwrap_or(false) {
            caps.extend([Cap::DacOverride, Cap::Fowner]);
        }
        Needs { files: true, caps, ..Needs::default() }
    }

    /// Whether it goes into several files.
    pub fn rotates(&self) -> bool {
        self.destination.rotation.is_on()
    }

    /// How old a file may get.
    pub fn rotate_every(&self) -> Option<Duration> {
        self.destination.rotation.every
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
        if self.destination.path.as_os_str() == "-" {
            "stdout".to_owned()
        } else {
            escape::path(&self.destination.path_of(self.number))
        }
    }

    /// Nothing was recorded after all: removes the file that was begun.
    pub fn discard(mut self) {
        self.abandon();
    }

    /// Removes the file that is written to, and knows of no other from now on.
    pub fn abandon(&mut self) {
        let made = self.unproven.take().or_else(|| self.made.pop_back());
        self.made.clear();
        if let (Target::File(_, folder), Some(made)) = (&self.target, made) {
            folder.remove_own(&made.name, made.id);
        }
    }

    /// What went wrong on the way to the file that is written to, with its name.
    pub fn failed(&self, error: impl std::error::Error) -> io::Error {
        self.of_this(io::Error::other(error.to_string()))
    }

    fn of_this(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let (Target::File(_, folder), Some(made)) = (&self.target, &self.unproven) {
            // It was made by us and never came to anything.
            folder.remove_own(&made.name, made.id);
        }
    }
}

/// Files of ours among those that were found, the oldest first.
fn kept(mut found: Vec<(u64, OsString)>, folder: &Folder) -> VecDeque<Made> {
    found.sort_unstable();
    found.into_iter().filter_map(|(_, name)| Some(Made { id: folder.own(&name)?, name })).collect()
}

fn of_file(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", escape::path(path)))
}

#[cfg(test)]
mod tests;
