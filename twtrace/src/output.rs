//! Owns: events as lines, and ways out that no reader can block. What all formats have in common stands here: the version that every JSON
//! object carries, and a time as RFC 3339 in UTC with nanoseconds.
//! Must not know: where events come from, any object.

mod json;
pub mod notes;
pub mod paint;
pub mod room;
mod text;
mod writer;

pub use json::Json;
pub use text::Text;
pub use writer::{Next, Turn, Units, Writer};

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

/// Writes to stdout what a command has to say. Notes stand before what they are about, not in the middle of it.
///
/// # Errors
/// Of writing.
pub fn print(text: &[u8]) -> io::Result<()> {
    notes::settle();
    io::stdout().lock().write_all(text)
}

/// The version of keys and their meaning, in JSON objects and in recordings. Within one version keys are only added: CONTRIBUTING.md has
/// the policy, docs/schema the schemas.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    object: &'a T,
}

/// Appends `object`, with its version, and a newline to `out`. It must be one that becomes a JSON object.
pub(crate) fn object_line(object: &impl Serialize, out: &mut Vec<u8>) {
    // A Vec takes everything, and every key is a string.
    let _ = write_object_line(object, out);
}

/// As [`object_line`], for what is too large to be whole in memory.
///
/// # Errors
/// Of writing.
pub(crate) fn write_object_line(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Versioned { schema_version: SCHEMA_VERSION, object })?;
    out.write_all(b"\n")
}

/// Writes times; those of one second share most of their text.
#[derive(Debug)]
pub struct Stamp {
    /// Seconds since 1970 that `prefix` stands for.
    second: i64,
    /// `2026-11-22T16:05:09`
    prefix: String,
}

impl Default for Stamp {
    fn default() -> Self {
        Self { second: i64::MIN, prefix: String::new() }
    }
}

impl Stamp {
    /// Appends `wall_ns`, nanoseconds since 1970.
    pub fn write(&mut self, wall_ns: i64, out: &mut Vec<u8>) {
        let (second, nanos) = (wall_ns.div_euclid(1_000_000_000), wall_ns.rem_euclid(1_000_000_000));
        if second != self.second {
            self.second = second;
            self.prefix.clear();
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            // Writing to memory cannot fail.
            let _ = write!(self.prefix, "{}", time.strftime("%Y-%m-%dT%H:%M:%S"));
        }
        out.extend_from_slice(self.prefix.as_bytes());
        // `.123456789Z`, with a digit before it that goes: formatting takes ten times as long as this.
        let mut digits = itoa::Buffer::new();
        out.push(b'.');
        out.extend_from_slice(&digits.format(1_000_000_000 + nanos).as_bytes()[1..]);
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_first() {
        let mut out = b"before\n".to_vec();
        object_line(&serde_json::json!({ "b": 1, "a": null }), &mut out);
        assert_eq!(out, b"before\n{\"schema_version\":1,\"a\":null,\"b\":1}\n");
    }
}
