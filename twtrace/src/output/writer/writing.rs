//! Owns: the thread that writes: it waits until there is something to write and room for it, and is told to stop.
//! Must not know: who hands over what is written, and how much may wait.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use super::Shared;
use super::piece::Piece;

/// Written at once, at most: what a pipe that has room takes without waiting (PIPE_BUF).
pub(super) const PAGE: usize = 4096;
/// Whether a descriptor says when it has room. Files always take what they are given.
pub fn is_watched(fd: &OwnedFd) -> bool {
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
    pub(super) fd: OwnedFd,
    pub(super) is_watched: bool,
    pub(super) shared: Arc<Shared>,
}

impl Writing {
    pub(super) fn run(&self) {
        loop {
            let is_due = {
                let state = self.shared.state();
                if state.is_over {
                    return;
                }
                !state.queue.is_empty()
            };
            let has_room = match self.wait(is_due) {
                Ok(has_room) => has_room,
                Err(error) => return self.fail(error),
            };
            if let (true, Some(bytes)) = (has_room, self.claim()) {
                match nix::unistd::write(&self.fd, &bytes) {
                    Ok(count) => self.wrote(count),
                    Err(Errno::EINTR | Errno::EAGAIN) => self.wrote(0),
                    Err(error) => return self.fail(error),
                }
            }
        }
    }

    /// What to write now.
    fn claim(&self) -> Option<Bytes> {
        let mut state = self.shared.state();
        let Piece { bytes, written, .. } = state.queue.front().filter(|_| !state.is_over)?;
        let most = if self.is_watched { PAGE } else { usize::MAX };
        let bytes = bytes.slice(*written..bytes.len().min(written.saturating_add(most)));
        state.is_writing = true;
        Some(bytes)
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
            state.queue.pop_front();
        }
        drop(guard);
        self.shared.moved.notify_waiters();
    }

    fn fail(&self, error: Errno) {
        let mut state = self.shared.state();
        state.is_writing = false;
        state.error = Some(error);
        state.is_cut |= !state.queue.is_empty();
        state.give_up();
        drop(state);
        self.shared.moved.notify_waiters();
        self.shared.failed.notify_waiters();
    }
}
