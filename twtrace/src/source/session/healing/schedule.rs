//! Owns: when it is time to list what lives.
//! Must not know: why, how, what comes of it.

use super::SECOND_NS;

/// Between two listings: at least, and at most, and by the processor time that the last one took. Not by how long it took: that is longest
/// where the machine is busy, which is where events get lost, and the next listing would come latest where it is needed most.
const PAUSE_NS: (u64, u64) = (SECOND_NS, 30 * SECOND_NS);
const PAUSE_FACTOR: u64 = 10;
/// Where nothing but what happens beside births and ends can have been lost, what lives is compared no sooner than this after the last time.
const SELDOM_NS: u64 = 30 * SECOND_NS;

/// See the head of the file. All times are CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Wanted as soon as may be.
    soon: bool,
    /// Wanted when the last one is long past.
    seldom: bool,
    listed_ns: u64,
    /// Not before.
    next_ns: u64,
    pause_ns: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { soon: false, seldom: false, listed_ns: 0, next_ns: 0, pause_ns: PAUSE_NS.0 }
    }
}

impl Schedule {
    /// Something was lost, or does not agree.
    pub(super) fn soon(&mut self) {
        self.soon = true;
    }

    /// Runs of hooks were skipped, none of which tells a birth or an end.
    pub(super) fn seldom(&mut self) {
        self.seldom = true;
    }

    /// Nothing that is wanted soon waits any longer.
    pub(super) fn hurry(&mut self) {
        self.next_ns = 0;
    }

    /// Whether it is time: then the listing is being made.
    pub(super) fn take(&mut self, now_ns: u64) -> bool {
        let is_due = self.soon && now_ns >= self.next_ns
            || self.seldom && now_ns >= self.listed_ns.saturating_add(SELDOM_NS);
        if is_due {
            (self.soon, self.seldom, self.listed_ns) = (false, false, now_ns);
        }
        is_due
    }

    /// Puts off the next listing, by what the last one cost, and more with each that follows another one closely.
    pub(super) fn pause(&mut self, cost_ns: u64, now_ns: u64) {
        if now_ns > self.next_ns + PAUSE_NS.1 {
            self.pause_ns = PAUSE_NS.0;
        }
        let pause_ns = cost_ns.saturating_mul(PAUSE_FACTOR).clamp(self.pause_ns, PAUSE_NS.1);
        self.pause_ns = (self.pause_ns * 2).min(PAUSE_NS.1);
        self.next_ns = now_ns + pause_ns;
    }
}
