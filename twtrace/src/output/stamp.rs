//! Owns: a time as RFC 3339 in UTC with nanoseconds, the `time` of events.
//! Must not know: which format it is part of.

use std::fmt::Write as _;

use bytes::BytesMut;

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
    pub fn write(&mut self, wall_ns: i64, out: &mut BytesMut) {
        let (second, nanos) = (wall_ns.div_euclid(1_000_000_000), wall_ns.rem_euclid(1_000_000_000));
        if second != self.second {
            self.second = second;
            self.prefix.clear();
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            // Writing to memory cannot fail.
            let _ = write!(self.prefix, "{}", time.strftime("%Y-%m-%dT%H:%M:%S"));
        }
        out.extend_from_slice(self.prefix.as_bytes());
        // `.123456789Z`: formatting takes ten times as long as this.
        let mut text = *b".000000000Z";
        let mut left = nanos;
        for digit in text[1..10].iter_mut().rev() {
            *digit += (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&text);
    }
}
