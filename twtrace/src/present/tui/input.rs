//! Owns: hearing what is typed and clicked, and that the terminal has gone.
//! Must not know: what it means.
//!
//! Reading is done on a thread of its own, because crossterm reads on for ever once a terminal has been hung up (its read()
//! says 0 then): the thread that draws must still hear of the signal that says so.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::crossterm::event::{self, Event as Input};
use tokio::sync::Notify;

/// What is typed and clicked.
#[derive(Debug)]
pub(super) struct Inputs {
    heard: Receiver<Input>,
}

impl Inputs {
    /// Begins to listen, and wakes whoever is to hear of it; the terminal is to be in raw mode.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn listen(waker: Arc<Notify>) -> io::Result<Self> {
        let (tell, heard) = channel();
        std::thread::Builder::new().name("input".into()).spawn(move || {
            // It ends with the program, or when nobody wants to hear any more, or when there is nothing to hear.
            while let Ok(input) = event::read() {
                if tell.send(input).is_err() {
                    return;
                }
                waker.notify_one();
            }
            drop(tell);
            waker.notify_one();
        })?;
        Ok(Self { heard })
    }

    /// The next that came, if any has. Never waits.
    ///
    /// # Errors
    /// Where nothing can come any more.
    pub(super) fn next(&self) -> io::Result<Option<Input>> {
        match self.heard.try_recv() {
            Ok(input) => Ok(Some(input)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the terminal cannot be read any more")),
        }
    }
}

/// Whether the terminal was hung up. Whoever started us may keep the signal that says so from us.
pub(super) fn has_gone() -> bool {
    let stdout = io::stdout();
    let mut terminal = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    let polled = poll(&mut terminal, PollTimeout::ZERO);
    polled.is_ok() && terminal[0].revents().is_some_and(|events| events.intersects(gone))
}
