//! Owns: the live view without a screen: what it is made of, as a table and as JSON, and what must be asked of the
//! kernel for it.
//! Must not know: where events come from, the terminal.

mod json;
mod origin;
mod plain;
mod ports;
mod upkeep;
mod words;

pub use json::json_line;
pub(crate) use json::keys;
pub use origin::Origin;
pub use plain::{Layout, plain};
pub use upkeep::Upkeep;
pub use words::{drawer, living, lost, not_seen, reasons, target, tuple, until};

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use crate::engine::Snapshot;
use crate::model::clock::Clock;
use crate::model::escape::printable;
use crate::model::limitation::Limitation;

/// Everything that one picture shows.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What is live.
    pub snapshot: Snapshot,
    /// The word for what tells the events.
    pub backend: &'static str,
    /// Memory of all TIME_WAIT sockets in the kernel, in bytes; `None` where it may not be read.
    pub slab_bytes: Option<u64>,
    /// What ties the snapshot's time to the calendar.
    pub clock: Clock,
    /// What cannot be seen.
    pub limitations: Vec<Limitation>,
    /// The machine that was recorded; `None` where it is this one, now.
    pub recorded: Option<String>,
}

impl Frame {
    /// Of a recording: which machine's, up to when. Escaped.
    pub(crate) fn replayed(&self, zone: &jiff::tz::TimeZone) -> Option<String> {
        let time = self.clock.time(self.snapshot.now_ns).to_zoned(zone.clone());
        let host = printable(self.recorded.as_ref()?);
        Some(format!("{host} as of {}", time.strftime("%Y-%m-%d %H:%M:%S %Z")))
    }
}
