//! Owns: what is said on stderr: notes to a user, which nobody has to read. They make nobody wait and end nothing.
//! Must not know: what they are about.

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Units, Writer};

/// Notes that wait for a reader, in bytes.
const LIMIT: usize = 256 << 10;
/// How long the last ones wait for one.
const PATIENCE: Duration = Duration::from_millis(200);

/// Whether each note is a JSON object.
static IS_JSON: AtomicBool = AtomicBool::new(false);

static STDERR: Mutex<Option<Writer>> = Mutex::new(None);

/// Says a line on stderr, as `eprintln!`, but where nobody reads it goes on all the same.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::notes::say(::std::format_args!($($argument)*)) };
}

/// From now on, each note is a JSON object on a line: `time` and `message`.
pub fn as_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

fn line(words: fmt::Arguments<'_>, is_json: bool) -> String {
    if !is_json {
        return format!("{words}\n");
    }
    let (time, message) =
        (jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), words.to_string());
    format!("{}\n", serde_json::json!({ "time": time, "message": message }))
}

/// What [`note!`] does.
pub fn say(words: fmt::Arguments<'_>) {
    let line = line(words, IS_JSON.load(Ordering::Relaxed));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_line_or_an_object_on_a_line() {
        assert_eq!(line(format_args!("a\nb"), false), "a\nb\n");
        let text = line(format_args!("a\n\"b\""), true);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((object["message"].as_str(), text.lines().count()), (Some("a\n\"b\""), 1));
        assert!(
            object["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')),
            "{text}"
        );
    }
}
