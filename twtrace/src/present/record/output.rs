//! Owns: where a recording goes: to a thread that writes, so that neither a reader nor a disk is waited for; what waits has a bound.
//! Must not know: what is in a recording, when it ends.

mod destination;
mod direct;
mod files;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::host::files::Taken;
use crate::host::sandbox::Needs;
use crate::model::escape;
use crate::output::{Next, Turn, Units, Writer};

pub use destination::{Destination, Rotation};
pub use direct::Direct;
use files::Files;

/// This much may wait; what is being made when that is reached comes on top.
const QUEUE_BYTES: usize = 16 << 20;
/// A disk that is full is to be found before a command is started; one that takes longer to say so than this may hang.
const BEGINNING: Duration = Duration::from_millis(200);

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

/// A recording on its way.
pub struct Output {
    writer: Writer,
    /// Where it goes to files that are ours to make. Once it has begun the thread that writes has them; nobody waits for it there.
    files: Option<Arc<Mutex<Files>>>,
    /// What those take, without and with one that was refused.
    needs: [Needs; 2],
    rotation: Rotation,
    /// What was asked for, escaped.
    path: String,
    part: u64,
    /// Bytes handed over, all files together.
    given: u64,
    /// Of these, those before the part that is being made.
    part_from: u64,
    /// The same up to the end of what every part begins with, once all of that is handed over.
    head_to: Option<u64>,
}

impl Output {
    /// Opens the first file: a bad name is found before anything is traced.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn open(destination: Destination) -> Result<Self, OutputError> {
        Self::open_for(destination, QUEUE_BYTES)
    }

    /// As [`Self::open`], where no more than `limit` bytes may wait.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn open_for(destination: Destination, limit: usize) -> Result<Self, OutputError> {
        let (rotation, path) = (destination.rotation, escape::path(&destination.path));
        let Direct { name, file, files, .. } = Direct::open(&destination)?;
        let writer = Writer::whole("recording", file.into(), limit, name.clone());
        Ok(Self {
            writer: writer.map_err(|error| OutputError::Io(name, error))?,
            needs: [false, true].map(|is_refused| needs(files.as_ref(), is_refused)),
            files: files.map(|files| Arc::new(Mutex::new(files))),
            rotation,
            path,
            part: 0,
            given: 0,
            part_from: 0,
            head_to: None,
        })
    }

    /// Tracing has begun: what was to be replaced goes. This is done here and now, as it takes power that is given up next.
    ///
    /// # Errors
    /// What the kernel says of renaming the file.
    pub fn begin(&mut self) -> io::Result<()> {
        self.files.as_deref().map_or(Ok(()), |files| lock(files).begin())
    }

    /// Hands over `bytes`, to be written in one go, and empties them.
    ///
    /// # Errors
    /// Why nothing can be written any more, with the name of the file; that may be known of what was handed over before.
    pub fn write(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.write_events(bytes, 0)
    }

    /// The same, with so many events in them, which are counted where they are not written.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn write_events(&mut self, bytes: &mut Vec<u8>, events: u64) -> io::Result<()> {
        if !bytes.is_empty() {
            let check = self.turn(|files, fd| files.check(fd).map(|()| None));
            self.hand_over(check, Bytes::copy_from_slice(bytes), Units::Whole(events))?;
            bytes.clear();
        }
        Ok(())
    }

    fn hand_over(&mut self, turn: Option<Turn>, bytes: Bytes, units: Units) -> io::Result<()> {
        let length = bytes.len() as u64;
        if !self.writer.put_always(turn, bytes, units)? {
            return Err(self.not_written());
        }
        self.given += length;
        Ok(())
    }

    /// What to do with the files once all before is written.
    fn turn(
        &self,
        work: impl FnOnce(&mut Files, &OwnedFd) -> io::Result<Option<Next>> + Send + 'static,
    ) -> Option<Turn> {
        let files = self.files.clone()?;
        Some(Box::new(move |fd| work(&mut lock(&files), fd)))
    }

    /// What was written so far is what every part begins with, and does not count. Only then those that are not to be kept are removed: a file
    /// that came to nothing would have cost an old one.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn head_ends(&mut self) -> io::Result<()> {
        self.head_to = Some(self.given);
        let Some(remove) = self.turn(|files, _| {
            files.head_ends();
            Ok(None)
        }) else {
            return Ok(());
        };
        self.hand_over(Some(remove), Bytes::new(), Units::None)
    }

    /// Waits a moment until a file has what was written so far.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn await_head(&self) -> io::Result<()> {
        if self.writer.is_file() {
            self.writer.settle(Instant::now() + BEGINNING);
        }
        self.writer.error().map_or(Ok(()), Err)
    }

    /// Whether nothing is in the file but what every part begins with, or a part of that.
    pub fn is_bare(&self) -> bool {
        self.head_to.is_none_or(|head_to| self.writer.written() <= head_to)
    }

    /// Whether what every part begins with is not whole: that is no recording.
    pub fn is_torn(&self) -> bool {
        self.head_to.is_none_or(|head_to| self.writer.written() < head_to)
    }

    /// Whether the file is full.
    pub fn is_full(&self) -> bool {
        let is_full = |size| self.given - self.head_to.unwrap_or(self.part_from) >= size;
        self.rotation.size.is_some_and(is_full)
    }

    /// Goes on in the next file.
    ///
    /// # Errors
    /// As [`Output::write`]; that it cannot be made is said later.
    pub fn go_on(&mut self) -> io::Result<()> {
        let Some(turn) = self.turn(|files, _| files.go_on().map(Some)) else { return Ok(()) };
        (self.part, self.part_from, self.head_to) = (self.part + 1, self.given, None);
        self.hand_over(Some(turn), Bytes::new(), Units::None)
    }

    /// What making more files takes, or removing them where there is to be none after all (`is_refused`).
    pub fn needs(&self, is_refused: bool) -> Needs {
        self.needs[usize::from(is_refused)].clone()
    }

    /// Whether it goes into several files.
    pub fn rotates(&self) -> bool {
        self.rotation.is_on()
    }

    /// How old a file may get.
    pub fn rotate_every(&self) -> Option<Duration> {
        self.rotation.every
    }

    /// Which file this is, from 0.
    pub fn part(&self) -> u64 {
        self.part
    }

    /// Bytes handed over, all files together.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Bytes written, all files together.
    pub fn total(&self) -> u64 {
        self.writer.written()
    }

    /// The file that is written to, escaped.
    pub fn shown(&self) -> String {
        self.writer.name()
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.writer.has_room()
    }

    /// What writes.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// All is handed over. What is left is written until `is_over`.
    ///
    /// # Errors
    /// What the kernel said of writing, and if not all was written.
    pub fn write_out(&self, is_over: impl FnMut() -> bool) -> io::Result<()> {
        self.writer.settle_until(is_over);
        let has_all = self.writer.is_idle();
        self.writer.finish(Instant::now());
        match self.writer.error() {
            // Who has read the mark of the end need not wait for more.
            Some(_) if !self.writer.is_cut() => Ok(()),
            Some(error) => Err(error),
            None if has_all => Ok(()),
            None => Err(self.not_written()),
        }
    }

    fn not_written(&self) -> io::Error {
        let remedy = if self.writer.is_file() {
            "see what its disk or file server waits for; a file elsewhere"
        } else {
            "a faster reader, or a file"
        };
        let lost = match self.writer.unwritten() {
            0 => String::new(),
            events => format!("{events} events are not written, and "),
        };
        let (name, slow) = (self.shown(), self.writer.slow());
        let text = format!("{name}: it {slow}: {lost}the end is missing; remedy: {remedy}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// Writes no more, and removes the file that is written to: it came to nothing. Where that hangs it is left alone.
    pub fn discard(&self) {
        self.removal()();
    }

    /// As [`Output::discard`], but gives what removes the file, to be called by whoever may wait for its disk.
    pub fn removal(&self) -> impl FnOnce() + Send + use<> {
        self.writer.finish(Instant::now());
        let (files, part) = (self.files.clone().filter(|_| !self.writer.hangs()), self.part);
        move || files.iter().for_each(|files| lock(files).discard(part))
    }

    /// The part that is being made, escaped. The thread that writes may be behind: which name a later one has is known once it is there.
    pub fn being_made(&self) -> String {
        match self.part {
            0 => self.shown(),
            part => format!("{}, part {part}", self.path),
        }
    }

    /// What went wrong with the part that is being made.
    pub fn failed(&self, error: impl std::error::Error) -> io::Error {
        io::Error::other(format!("{}: {error}", self.being_made()))
    }
}

fn needs(files: Option<&Files>, is_refused: bool) -> Needs {
    files.map_or_else(Needs::default, |files| files.needs(is_refused))
}

fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    // What a panic left is whole: each name is noted once it is there.
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
