//! Owns: where that is what a view shows: on this machine, now, or in a recording.
//! Must not know: what is shown of it.

use super::Upkeep;
use crate::engine::Tracker;
use crate::host::worker::Died;
use crate::model::clock::Clock;

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
