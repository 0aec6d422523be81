//! Owns: the terminal: taking it, and giving it back whatever happens.
//! Must not know: what is drawn.
//!
//! Signals need no care here: the session turns them into an end in good order, and then the guard is dropped.

use std::cell::Cell;
use std::io::{Stdout, Write, stdout};
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};

thread_local! {
    /// This thread has the terminal and must give it back. Others that panic must not: the screen goes on without them.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// A terminal that is given back when this is dropped, or when the thread that took it panics.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Guard {
    /// Takes the terminal: raw mode, alternate screen, mouse.
    ///
    /// # Errors
    /// Of the terminal; then it is as it was before.
    pub(super) fn take() -> std::io::Result<Self> {
        hook_panics();
        TAKEN.set(true);
        let taken = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen, EnableMouseCapture))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        taken.map(|terminal| Self { terminal }).inspect_err(|_| give_back())
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
    if TAKEN.try_with(|taken| taken.replace(false)).unwrap_or(false) {
        let mut out = stdout();
        let _ = queue!(out, DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
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
