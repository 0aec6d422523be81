//! Owns: what is said on stderr: notes to a user, which nobody has to read. They make nobody wait and end nothing.
//! Must not know: what they are about.

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Units, Writer};
use crate::model::escape::fit;

/// Notes that wait for a reader, in bytes.
const LIMIT: usize = 256 << 10;
/// How long the first and the last ones wait for one.
const PATIENCE: Duration = Duration::from_millis(200);

/// Whether each note is a JSON object.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// To the first column, and nothing is left of the line (ECMA-48, EL).
const CLEAR: &str = "\r\x1b[K";

/// A line of progress is on the terminal. Changes only with [`STDERR`] locked, but at its end.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);
static STDERR: Mutex<Option<Writer>> = Mutex::new(None);

/// Says a line on stderr, as `eprintln!`, but where nobody reads it goes on all the same.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::notes::say(::std::format_args!($($argument)*)) };
}

/// From now on, each note is a JSON object on a line: `schema_version`, `time` and `message`.
pub fn as_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

fn line(words: fmt::Arguments<'_>, is_json: bool) -> String {
    if !is_json {
        return format!("{words}\n");
    }
    let (time, message) =
        (jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), words.to_string());
    let mut line = Vec::new();
    super::object_line(&serde_json::json!({ "time": time, "message": message }), &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

/// What [`note!`] does.
pub fn say(words: fmt::Arguments<'_>) {
    let line = line(words, IS_JSON.load(Ordering::Relaxed));
    let mut stderr = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    let clear = if IS_SHOWN.swap(false, Ordering::Relaxed) { CLEAR } else { "" };
    put(&mut stderr, format!("{clear}{line}"));
}

/// Shows a line on stderr, a terminal, in the place of the one that was shown before. `line` is printable.
pub fn progress(line: &str) {
    // The last column stays free: some terminals break the line there.
    let line = fit(line, textwrap::termwidth().saturating_sub(1)).into_owned();
    let mut stderr = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    IS_SHOWN.store(true, Ordering::Relaxed);
    put(&mut stderr, format!("{CLEAR}{line}"));
}

/// Takes the line away, and waits until it is gone: what is written next stands in its place.
pub fn end_progress() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        put(&mut STDERR.lock().unwrap_or_else(PoisonError::into_inner), CLEAR.to_owned());
        finish();
    }
}

fn put(stderr: &mut Option<Writer>, text: String) {
    if stderr.is_none() {
        let fd = std::io::stderr().as_fd().try_clone_to_owned();
        *stderr = fd.and_then(|fd| Writer::start("stderr", fd, LIMIT)).ok();
    }
    if let Some(writer) = stderr {
        // Where nobody reads, nobody is to be told of that either.
        let _ = writer.put(text.into(), Units::One);
    }
}

/// Waits a moment until what was said can be read; where nobody reads, it waits for its reader as before.
pub fn settle() {
    if let Some(writer) = &*STDERR.lock().unwrap_or_else(PoisonError::into_inner) {
        writer.settle(Instant::now() + PATIENCE);
    }
}

/// Waits a moment for the last notes to be written. To be called before the process ends.
pub fn finish() {
    let writer = STDERR.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(writer) = writer {
        writer.finish(Instant::now() + PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_line_or_an_object_on_a_line() {
        assert_eq!(line(format_args!("a\nb"), false), "a\nb\n");
        let text = line(format_args!("a\n\"b\""), true);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((object["message"].as_str(), text.lines().count()), (Some("a\n\"b\""), 1));
        assert_eq!(object["schema_version"], crate::output::SCHEMA_VERSION);
        assert!(
            object["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')),
            "{text}"
        );
    }
}
