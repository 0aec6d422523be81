//! Owns: the thread that writes: it waits until there is something to write and room for it, and is told to stop.
//! Must not know: who hands over what is written, and how much may wait.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use super::Shared;
use super::piece::{Next, Piece, Turn};

/// Written at once, at most: what a pipe that has room takes without waiting (PIPE_BUF).
pub(super) const PAGE: usize = 4096;

/// Whether a descriptor says when it has room. Files always take what they are given.
pub(super) fn is_watched(fd: &OwnedFd) -> bool {
    let Ok(status) = fstat(fd) else { return true };
    let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
    match kind {
        SFlag::S_IFREG => false,
        SFlag::S_IFCHR => nix::unistd::isatty(fd).unwrap_or(true),
        _ => true,
    }
}

/// The thread.
pub(super) struct Writing {
    fd: OwnedFd,
    is_watched: bool,
    shared: Arc<Shared>,
}

/// What is to be done now.
enum Due {
    Turn(Turn),
    Bytes(Bytes),
}

impl Writing {
    pub(super) fn new(fd: OwnedFd, is_watched: bool, shared: Arc<Shared>) -> Self {
        Self { fd, is_watched, shared }
    }

    pub(super) fn run(&mut self) {
        loop {
            let is_due = {
                let state = self.shared.state();
                if state.is_over {
                    return;
                }
                !state.queue.is_empty()
            };
            if let Err(error) = self.step(is_due) {
                return self.fail(&error);
            }
        }
    }

    fn step(&mut self, is_due: bool) -> io::Result<()> {
        let has_room = self.wait(is_due).map_err(|errno| self.named(errno))?;
        match has_room.then(|| self.claim()).flatten() {
            None => Ok(()),
            Some(Due::Turn(turn)) => self.turn(turn),
            Some(Due::Bytes(bytes)) => self.write(&bytes),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match nix::unistd::write(&self.fd, bytes) {
            Ok(count) => self.wrote(count),
            Err(Errno::EINTR | Errno::EAGAIN) => self.wrote(0),
            Err(errno) => return Err(self.named(errno)),
        }
        Ok(())
    }

    /// What the kernel said, and of what.
    fn named(&self, errno: Errno) -> io::Error {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("{}: {error}", self.shared.state().called))
    }

    fn turn(&mut self, turn: Turn) -> io::Result<()> {
        if let Some(Next { fd, name }) = turn(&self.fd)? {
            (self.is_watched, self.fd) = (is_watched(&fd), fd);
            self.shared.state().called = name;
        }
        self.wrote(0);
        Ok(())
    }

    /// What to do now.
    fn claim(&self) -> Option<Due> {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        let Piece { turn, bytes, written, .. } = state.queue.front_mut().filter(|_| !state.is_over)?;
        let most = if self.is_watched { PAGE } else { usize::MAX };
        let bytes = bytes.slice(*written..bytes.len().min(written.saturating_add(most)));
        state.is_writing = true;
        Some(turn.take().map_or(Due::Bytes(bytes), Due::Turn))
    }

    /// Until there is room for what `is_due`, or something new to do. Says whether there is room.
    fn wait(&self, is_due: bool) -> Result<bool, Errno> {
        if is_due && !self.is_watched {
            return Ok(true);
        }
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let wanted = if is_due { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut both =
            [PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN), PollFd::new(self.fd.as_fd(), wanted)];
        let watched = if self.is_watched { 2 } else { 1 };
        match poll(&mut both[..watched], PollTimeout::NONE) {
            Err(Errno::EINTR) => return Ok(false),
            other => other?,
        };
        let [bell, fd] = both.map(|polled| polled.revents().unwrap_or(PollFlags::empty()));
        if bell.contains(PollFlags::POLLIN) {
            let _ = self.shared.bell.read();
        }
        if fd.intersects(gone) {
            return Err(Errno::EPIPE);
        }
        Ok(fd.contains(PollFlags::POLLOUT))
    }

    fn wrote(&self, count: usize) {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        state.is_writing = false;
        // None where the end did not wait for this.
        let Some(piece) = state.queue.front_mut() else { return };
        piece.written += count;
        state.waiting -= count;
        if piece.written == piece.bytes.len() {
            state.written += piece.bytes.len() as u64;
            state.queue.pop_front();
        }
        drop(guard);
        self.shared.moved.notify_waiters();
    }

    fn fail(&self, error: &io::Error) {
        let mut state = self.shared.state();
        state.is_writing = false;
        state.error = Some((error.kind(), error.to_string()));
        state.is_cut |= !state.queue.is_empty();
        state.give_up();
        drop(state);
        self.shared.moved.notify_waiters();
        self.shared.failed.notify_waiters();
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let called = self.shared.state().called.clone();
            self.fail(&io::Error::other(format!("{called}: the thread that writes to it ended too early")));
        }
    }
}
