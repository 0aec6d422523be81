//! Owns: the live view without a screen: what it is made of, on this machine, now, or in a recording; as a table and as JSON; and what must be
//! asked of the kernel for it.
//! Must not know: where events come from, the terminal.

mod json;
mod plain;
mod ports;
mod upkeep;
mod words;

use crate::engine::{Snapshot, Tracker};
use crate::host::worker::Died;
use crate::model::clock::Clock;
use crate::model::escape::printable;
use crate::model::figures::span;
use crate::model::limitation::Limitation;
pub use json::json_line;
pub(crate) use json::keys;
pub use plain::{Layout, plain};
pub use upkeep::Upkeep;
pub use words::{drawer, living, lost, not_seen, reasons, target, tuple, until};

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

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
    /// For how long was traced: `3s`, `1m05s`.
    pub(crate) fn traced(&self) -> String {
        let Snapshot { now_ns, began_ns, .. } = self.snapshot;
        span(now_ns.saturating_sub(began_ns) as f64 / 1e9)
    }

    /// Of a recording: which machine's, up to when. Escaped.
    pub(crate) fn replayed(&self, zone: &jiff::tz::TimeZone) -> Option<String> {
        let time = self.clock.time(self.snapshot.now_ns).to_zoned(zone.clone());
        let host = printable(self.recorded.as_ref()?);
        Some(format!("{host} as of {}", time.strftime("%Y-%m-%d %H:%M:%S %Z")))
    }
}

/// What a view asks for besides events.
#[derive(Debug)]
pub enum Origin {
    /// This machine: the kernel can be asked.
    Here(Upkeep),
    /// A recording of this machine, whose clock this is: all that can be known has been told.
    Recorded(String, Clock),
}

impl Origin {
    /// This machine.
    ///
    /// # Errors
    /// Those of [`Upkeep::start`].
    pub fn here() -> std::io::Result<Self> {
        Upkeep::start().map(Self::Here)
    }

    /// See [`Upkeep::run`].
    ///
    /// # Errors
    /// Those of [`Upkeep::run`].
    pub fn run(&mut self, tracker: &mut Tracker, now_ns: u64) -> Result<(), Died> {
        match self {
            Self::Here(upkeep) => upkeep.run(tracker, now_ns),
            Self::Recorded(..) => Ok(()),
        }
    }

    /// See [`Upkeep::slab_bytes`].
    pub fn slab_bytes(&self) -> Option<u64> {
        match self {
            Self::Here(upkeep) => upkeep.slab_bytes(),
            Self::Recorded(..) => None,
        }
    }

    /// The machine that was recorded, where one was.
    pub fn recorded(&self) -> Option<String> {
        match self {
            Self::Here(_) => None,
            Self::Recorded(host, _) => Some(host.clone()),
        }
    }

    /// What ties the tracker's time to the calendar. Clocks drift apart, and the calendar is set: here, both are read again for each
    /// picture.
    pub fn clock(&self) -> Clock {
        match self {
            Self::Here(_) => Clock::read(),
            Self::Recorded(_, clock) => *clock,
        }
    }
}
