//! Owns: the terminal: taking it, hearing what is typed and clicked and that it has gone, and giving it back whatever happens.
//! Must not know: what is drawn, what a key means.
//!
//! Signals need no care here: the session turns them into an end in good order, and then the guard is dropped. Reading is done on a thread of
//! its own, because crossterm reads on for ever once a terminal has been hung up (its read() says 0 then): the thread that draws must still
//! hear of the signal that says so.

use std::cell::RefCell;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event as Input};
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::crossterm::{execute, queue};
use tokio::sync::Notify;

use crate::output::{Units, Writer};

/// How long the terminal may take to take what gives it back.
const PATIENCE: Duration = Duration::from_millis(300);
/// No picture is as long; they are written one at a time.
const QUEUE_BYTES: usize = 4 << 20;

/// Whether the terminal says how large it is: a serial console has 0 rows of 0 columns, until somebody tells it.
pub fn has_size() -> bool {
    size().is_ok_and(|(columns, rows)| columns != 0 && rows != 0)
}

/// `ESC ] 52 ; c ; BASE64 BEL`
fn osc52(text: &str) -> Vec<u8> {
    format!("\x1b]52;c;{}\x07", BASE64.encode(text)).into_bytes()
}

thread_local! {
    /// What this thread writes to the terminal that it has and must give back. Others that panic must not: the screen goes on
    /// without them.
    static TAKEN: RefCell<Option<Arc<Writer>>> = const { RefCell::new(None) };
}

/// A terminal that is given back when this is dropped, or when the thread that took it panics.
#[derive(Debug)]
pub(super) struct Guard {
    /// Not dropped: it would show the cursor once more, and complain on stderr where the terminal has gone.
    pub(super) terminal: ManuallyDrop<Terminal<CrosstermBackend<Screenful>>>,
    writer: Arc<Writer>,
}

/// Gathers what is drawn, and hands it over whole, so that a terminal which takes nothing makes nobody wait.
#[derive(Debug)]
pub(super) struct Screenful {
    bytes: Vec<u8>,
    writer: Arc<Writer>,
}

impl Screenful {
    fn new(writer: &Arc<Writer>) -> Self {
        Self { bytes: Vec::new(), writer: Arc::clone(writer) }
    }
}

impl Write for Screenful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.writer.put(std::mem::take(&mut self.bytes).into(), Units::None)?;
        }
        Ok(())
    }
}

impl Guard {
    /// Takes the terminal: raw mode, alternate screen, mouse.
    ///
    /// # Errors
    /// Of the terminal; then it is as it was before.
    pub(super) fn take() -> std::io::Result<Self> {
        hook_panics();
        // The theme has obeyed NO_COLOR already, and what the user picked since comes before it.
        force_color_output(true);
        let writer = Arc::new(Writer::stdout(QUEUE_BYTES)?);
        let mut out = Screenful::new(&writer);
        TAKEN.set(Some(Arc::clone(&writer)));
        let taken = enable_raw_mode()
            .and_then(|()| execute!(out, EnterAlternateScreen, EnableMouseCapture))
            .and_then(|()| Terminal::new(CrosstermBackend::new(Screenful::new(&writer))));
        let terminal = taken.inspect_err(|_| give_back())?;
        Ok(Self { terminal: ManuallyDrop::new(terminal), writer })
    }

    /// Puts a text into the clipboard of whoever sits before the terminal, where that takes it: OSC 52 of XTerm's control sequences.
    ///
    /// # Errors
    /// Of writing.
    pub(super) fn copy(&self, text: &str) -> io::Result<()> {
        self.writer.put(osc52(text).into(), Units::None).map(drop)
    }

    /// Whether the terminal has taken all that was drawn.
    ///
    /// # Errors
    /// Where it takes nothing any more.
    pub(super) fn is_idle(&self) -> io::Result<bool> {
        self.writer.error().map_or_else(|| Ok(self.writer.is_idle()), Err)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once only, whoever calls. What cannot be given back cannot be mended either: the terminal may have gone.
fn give_back() {
    // A thread that has ended has nothing any more.
    let Ok(Some(writer)) = TAKEN.try_with(RefCell::take) else { return };
    // Behind all that was drawn before, whoever writes that.
    let mut out = Screenful::new(&writer);
    let _ = queue!(out, DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = out.flush();
    writer.finish(Instant::now() + PATIENCE);
    let _ = disable_raw_mode();
}

/// So that the message of a panic can be read.
fn hook_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

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

#[cfg(test)]
mod tests {

    #[test]
    fn what_is_copied_is_text_and_nothing_else() {
        assert_eq!(super::osc52("a\x1b]0;b"), b"\x1b]52;c;YRtdMDti\x07");
    }
}
