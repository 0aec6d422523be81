//! Owns: whether a signal came from the terminal, which sends it to the command as well, or from somebody's kill(2).
//! Must not know: what is done about it.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook_registry::register_sigaction;

use crate::source::session::signals::{Signals, is_heard};

const WATCHED: [libc::c_int; 3] = Signals::ENDING;
/// `si_code` (sigaction(2)) of the last signal of each kind.
static CODES: [AtomicI32; 3] = [const { AtomicI32::new(0) }; 3];

/// The last signal that nobody has asked for yet, 0 where there is none.
static LAST: AtomicI32 = AtomicI32::new(0);

/// Starts to look where the signals that end a trace come from. What else they do stays as it is.
pub(super) fn watch() -> io::Result<()> {
    for (signal, code) in WATCHED.into_iter().zip(&CODES).filter(|(signal, _)| is_heard(*signal)) {
        let note = move |info: &libc::siginfo_t| {
            code.store(info.si_code, Ordering::Relaxed);
            LAST.store(signal, Ordering::Release);
        };
        // SAFETY: the action stores into atomics, which is async-signal-safe.
        unsafe { register_sigaction(signal, note) }?;
    }
    Ok(())
}

/// Whether the last signal of this kind was made by the kernel, as Ctrl-C on a terminal is: then every process of the
/// terminal's foreground group got it.
pub(super) fn from_terminal(signal: i32) -> bool {
    let index = WATCHED.iter().position(|watched| *watched == signal);
    index.is_some_and(|index| CODES[index].load(Ordering::Relaxed) == libc::SI_KERNEL)
}

/// The last signal that came and was not taken yet.
pub(super) fn take() -> Option<i32> {
    Some(LAST.swap(0, Ordering::Acquire)).filter(|signal| *signal != 0)
}
