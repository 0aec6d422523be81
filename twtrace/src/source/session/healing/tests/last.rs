//! Owns: a view that keeps the last picture of a replay.
//! Must not know: what it is compared with.

use crate::engine::{Counts, Tracker};
use crate::model::clock::Clock;
use crate::model::event::Event;
use crate::source::{Flow, View};

/// The last picture of a replay.
pub(super) struct Last {
    pub(super) live: u64,
    pub(super) counts: Counts,
    /// At every moment what lived was what had come and not gone.
    pub(super) always: bool,
}

impl Default for Last {
    fn default() -> Self {
        Self { live: 0, counts: Counts::default(), always: true }
    }
}

impl View for Last {
    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        Ok(())
    }

    fn event(&mut self, _event: &Event) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    fn batch(&mut self, sim: &Tracker) -> std::io::Result<Flow> {
        (self.live, self.counts) = (sim.live() as u64, sim.total());
        self.always &= self.counts.created + self.counts.listed - self.counts.ended() == self.live;
        Ok(Flow::Go)
    }
}
