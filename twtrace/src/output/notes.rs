//! Owns: what is said on stderr: notes to a user, which nobody has to read. They make nobody wait and end nothing.
//! Must not know: what they are about.

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Units, Writer};

/// Notes that wait for a reader, in bytes.
const LIMIT: usize = 256 << 10;
/// How long the last ones wait for one.
const PATIENCE: Duration = Duration::from_millis(200);

static STDERR: Mutex<Option<Writer>> = Mutex::new(None);

/// Says a line on stderr, as `eprintln!`, but where nobody reads it goes on all the same.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::notes::say(::std::format_args!($($argument)*)) };
}

/// What [`note!`] does.
pub fn say(words: fmt::Arguments<'_>) {
    let line = format!("{words}\n");
    let mut stderr = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    if stderr.is_none() {
        let fd = std::io::stderr().as_fd().try_clone_to_owned();
        *stderr = fd.and_then(|fd| Writer::start("stderr", fd, LIMIT)).ok();
    }
    if let Some(writer) = &*stderr {
        // Where nobody reads, nobody is to be told of that either.
        let _ = writer.put(line.into(), Units::One);
    }
}

/// Waits a moment for the last notes to be written. To be called before the process ends.
pub fn finish() {
    let writer = STDERR.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(writer) = writer {
        writer.finish(Instant::now() + PATIENCE);
    }
}
