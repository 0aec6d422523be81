//! Owns: a descriptor that somebody reads, or does not: a thread that writes, and a bounded queue before it, so that no reader ever
//! makes us wait. What does not fit is counted. A disk may hang as well as a reader: what a file needs besides is done by the same thread.
//! Must not know: what is written.
//!
//! A pipe, a socket or a terminal is written to only where it says that it has room, and a page at most at a time: a pipe with room
//! has room for a page (pipe_poll(), fs/pipe.c, 5.10 to 7.3), a terminal that was stopped has none (pty_write_room(),
//! drivers/tty/pty.c, 5.10 to 7.3). So the thread waits in poll(2), where it can be told to stop, and is in write(2)
//! only for a moment. No other thread ever is: not even O_NONBLOCK keeps it from waiting for who holds a pipe's lock
//! (pipe_write(), fs/pipe.c, 5.10 to 6.12; anon_pipe_write(), there, 7.3), as a reader does while it splices to a file.

mod piece;
mod writing;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::Notify;

use crate::host::worker::Thread;

use piece::Piece;
pub use piece::{Next, Turn, Units};
use writing::{Writing, is_watched};

/// A file has no reader who could be slow: what waits for it waits only because this thread has to share the processor.
const FILE_FACTOR: usize = 16;
/// A reader has this long at least for what is left at the end, however long what came before took.
const READING: Duration = Duration::from_millis(200);
/// And a file so long: its disk is busy for a moment, or hangs.
const WRITING: Duration = Duration::from_secs(2);
/// How long the page that is being written when all is over may take, so that it is counted for what it is.
const LAST_PAGE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Piece>,
    /// Bytes in the queue.
    waiting: usize,
    /// Bytes of pieces that were written whole.
    written: u64,
    /// Units that were or will not be written.
    unwritten: u64,
    /// What is written to now is called so where something is said of it.
    called: String,
    /// Why nothing can be written any more.
    error: Option<(io::ErrorKind, String)>,
    /// The thread is in write(2), or does what comes before that.
    is_writing: bool,
    /// Nothing more is to be written.
    is_over: bool,
    /// It failed with something left to write.
    is_cut: bool,
}

impl State {
    fn error(&self) -> Option<io::Error> {
        self.error.as_ref().map(|(kind, text)| io::Error::new(*kind, text.clone()))
    }

    /// Nothing of what waits will be written.
    fn give_up(&mut self) {
        self.unwritten += self.queue.drain(..).map(|piece| piece.unwritten()).sum::<u64>();
        self.waiting = 0;
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Written to when there is something to write, or an end.
    bell: EventFd,
    /// Something was written, or nothing can be any more.
    moved: Notify,
    /// Nothing can be written any more: heard by who need not wake for each piece.
    failed: Notify,
}

/// Where to write to; see the head of the file.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    limit: usize,
    /// It began as a file, whose disk may be slow, and not as what somebody reads.
    is_file: bool,
    /// All of it is wanted.
    is_whole: bool,
    thread: Mutex<Option<Thread>>,
}

impl Writer {
    /// Begins to write to `fd`, on a thread that is called `name`. Up to `limit` bytes wait for their reader, or one piece that is longer; sixteen times
    /// as many where it is a file.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn start(name: &'static str, fd: OwnedFd, limit: usize) -> io::Result<Self> {
        let mut writer = Self::begin(name, name.to_owned(), fd, limit)?;
        if writer.is_file {
            writer.limit *= FILE_FACTOR;
        }
        Ok(writer)
    }

    /// As [`Self::start`], for what is to be whole: a file has no more room than a reader, and at the end it is waited for, but not for ever. `called`
    /// is its name where something is said of it; the thread has the other one.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn whole(name: &'static str, fd: OwnedFd, limit: usize, called: String) -> io::Result<Self> {
        let mut writer = Self::begin(name, called, fd, limit)?;
        writer.is_whole = true;
        Ok(writer)
    }

    fn begin(name: &'static str, called: String, fd: OwnedFd, limit: usize) -> io::Result<Self> {
        let is_watched = is_watched(&fd);
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let state = Mutex::new(State { called, ..State::default() });
        let shared = Arc::new(Shared { state, bell, moved: Notify::new(), failed: Notify::new() });
        let mut writing = Writing::new(fd, is_watched, Arc::clone(&shared));
        let thread = Mutex::new(Some(Thread::start(name, move || writing.run())?));
        Ok(Self { shared, limit, is_file: !is_watched, is_whole: false, thread })
    }

    /// Begins to write to stdout.
    ///
    /// # Errors
    /// As [`Writer::start`].
    pub fn stdout(limit: usize) -> io::Result<Self> {
        Self::start("stdout", io::stdout().as_fd().try_clone_to_owned()?, limit)
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.shared.state().called.clone()
    }

    /// What is said of it where things wait for too long.
    pub const fn slow(&self) -> &'static str {
        if self.is_file {
            "does not take fast enough what is written to it"
        } else {
            "is not read fast enough"
        }
    }

    /// Whether it began as a file, and not as what somebody reads.
    pub const fn is_file(&self) -> bool {
        self.is_file
    }

    /// How long what is left is waited for at the end. A file that is to be whole has as long as a disk may be busy, and no longer; a reader has some
    /// time at least, and where `until` names none, as long as it takes.
    pub fn deadline(&self, until: Option<Instant>) -> Option<Instant> {
        let now = Instant::now();
        if self.is_file && self.is_whole {
            Some(now + WRITING)
        } else {
            until.map(|until| until.max(now + READING))
        }
    }

    /// Whether a piece would be taken.
    pub fn has_room(&self) -> bool {
        self.shared.state().waiting < self.limit
    }

    /// Whether pieces of so many bytes in all would be taken.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.fits(&self.shared.state(), bytes)
    }

    fn fits(&self, state: &State, bytes: usize) -> bool {
        state.waiting == 0 || state.waiting + bytes <= self.limit
    }

    /// Whether all was written that will be.
    pub fn is_idle(&self) -> bool {
        let state = self.shared.state();
        state.queue.is_empty() || state.error.is_some() || state.is_over
    }

    /// Hands over a piece; it is written whole, after all before it. `false` when there is no room: then it is counted.
    ///
    /// # Errors
    /// Once nothing can be written any more; a reader that went away is a broken pipe.
    pub fn put(&self, bytes: Bytes, units: Units) -> io::Result<bool> {
        self.take(Piece { turn: None, bytes, units, written: 0 }, false)
    }

    /// As [`Self::put`], whether there is room or not: for what nothing that follows can be read without. Whoever calls this looks for room
    /// before there is anything to hand over. `turn` is done before the first of it is written. `false` once nothing more is to be written.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_always(&self, turn: Option<Turn>, bytes: Bytes, units: Units) -> io::Result<bool> {
        self.take(Piece { turn, bytes, units, written: 0 }, true)
    }

    /// Counts what was not even made into a piece, for want of room.
    pub fn lose(&self, units: u64) {
        self.shared.state().unwritten += units;
    }

    fn take(&self, piece: Piece, always: bool) -> io::Result<bool> {
        let mut state = self.shared.state();
        if let Some(error) = state.error() {
            return Err(error);
        }
        if state.is_over || !(always || self.fits(&state, piece.bytes.len())) {
            state.unwritten += piece.units.count();
            return Ok(false);
        }
        let was_empty = state.queue.is_empty();
        state.waiting += piece.bytes.len();
        state.queue.push_back(piece);
        drop(state);
        if was_empty {
            self.shared.ring();
        }
        Ok(true)
    }

    /// Bytes of pieces that were written whole, so far.
    pub fn written(&self) -> u64 {
        self.shared.state().written
    }

    /// Units that will not be written, so far.
    pub fn unwritten(&self) -> u64 {
        self.shared.state().unwritten
    }

    /// Why nothing can be written any more, once that is so.
    pub fn error(&self) -> Option<io::Error> {
        self.shared.state().error()
    }

    /// Whether its thread hangs in what it was doing when it was to end: whoever touches what it writes to may hang as well.
    pub fn hangs(&self) -> bool {
        self.shared.state().is_writing
    }

    /// Whether something was left to write when that came about: who has read all may go.
    pub fn is_cut(&self) -> bool {
        self.shared.state().is_cut
    }

    /// Until nothing can be written any more. Nothing is lost when this is given up half-way.
    pub async fn broken(&self) {
        self.until(&self.shared.failed, |state| state.error.is_some()).await;
    }

    /// Until pieces of so many bytes in all would be taken, or nothing can be written any more.
    pub async fn room_for(&self, bytes: usize) {
        self.until(&self.shared.moved, |state| self.fits(state, bytes) || state.error.is_some()).await;
    }

    /// Until all is written, or nothing can be any more.
    pub async fn emptied(&self) {
        self.until(&self.shared.moved, |state| state.queue.is_empty() || state.error.is_some()).await;
    }

    async fn until(&self, bell: &Notify, is_so: impl Fn(&State) -> bool) {
        loop {
            let rung = bell.notified();
            if is_so(&self.shared.state()) {
                return;
            }
            rung.await;
        }
    }

    /// Waits until all is written that will be, or until `deadline`.
    pub fn settle(&self, deadline: Instant) {
        self.settle_until(|| Instant::now() >= deadline);
    }

    /// Waits until all is written that will be, or until `is_over`.
    pub fn settle_until(&self, mut is_over: impl FnMut() -> bool) {
        while !self.is_idle() && !is_over() {
            // poll: seldom more than once, for the beginning and the end of a trace.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Writes what there is until `deadline`, and then nothing more. Returns the units that were not written in all.
    pub fn finish(&self, deadline: Instant) -> u64 {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return self.unwritten() };
        self.settle(deadline);
        self.shared.state().is_over = true;
        let patience = Instant::now() + LAST_PAGE;
        while self.shared.state().is_writing && Instant::now() < patience {
            // poll: a write() under way ends when it ends.
            std::thread::sleep(Duration::from_millis(1));
        }
        let unwritten = {
            let mut state = self.shared.state();
            state.give_up();
            state.unwritten
        };
        self.shared.ring();
        // It is either in poll(), and ends now; or, because somebody else took the room, in write(), and is left there.
        let _ = thread.join_by(Instant::now() + LAST_PAGE);
        unwritten
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish(Instant::now());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic elsewhere left is whole: nothing is done by halves under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // It cannot be full: the thread reads it whenever it wakes.
        let _ = self.bell.write(1);
    }
}

#[cfg(test)]
mod tests;
