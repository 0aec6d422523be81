//! Owns: what is known of any row, whatever it is named by.
//! Must not know: the other rows.

use super::counts::Counts;
use super::history::{Flow, History};
use super::sketch::Sketch;
use crate::event::{Event, Kind, Reason, Role, Substate};

/// A connection that lived shorter than this can hardly have carried more than one request.
const ONE_REQUEST_NS: u64 = 5_000_000;

/// Everything that is counted in a row.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// What came and went.
    pub counts: Counts,
    /// TIME_WAIT sockets that live.
    pub live: u64,
    /// The most that lived at one time.
    pub peak_live: u64,
    /// Created, by role; see [`Stats::created_as`].
    roles: [u64; 3],
    /// Created as orphans that wait for their peer's FIN.
    pub fin_wait2: u64,
    /// Of those, how many waited in vain: the timer ran out in FIN_WAIT2.
    pub fin_wait2_expired: u64,
    /// CLOCK_MONOTONIC at the first event in nanoseconds.
    pub first_ns: u64,
    /// CLOCK_MONOTONIC at the last event in nanoseconds.
    pub last_ns: u64,
    /// Of the connections whose age is known, how many lived under 5 ms.
    pub under_5ms: u64,
    /// Of how many connections the age is known.
    pub ages: u64,
    /// The last two minutes.
    pub history: History,
    /// How long its connections lived, in microseconds.
    pub age_us: Sketch,
    /// Payload sent a connection, in bytes.
    pub sent: Sketch,
    /// Payload received a connection, in bytes.
    pub received: Sketch,
}

impl Stats {
    /// Counts an event that happened in second `at`.
    pub(super) fn count(&mut self, event: &Event, at: u32) {
        self.counts.add(event);
        self.seen(event.mono_ns);
        match event.kind {
            Kind::Created => {
                self.roles[event.role as usize] += 1;
                self.fin_wait2 += u64::from(event.substate == Some(Substate::FinWait2));
                self.measure(event);
                self.history.add(at, Flow::Created);
            }
            Kind::Ended => {
                let waited =
                    (event.substate, event.reason) == (Some(Substate::FinWait2), Some(Reason::Expired));
                self.fin_wait2_expired += u64::from(waited);
                self.history.add(at, Flow::Ended);
            }
            Kind::Overflow => {
                self.measure(event);
                self.history.add(at, Flow::Failed);
            }
            Kind::ConnectFailed | Kind::BindFailed => self.history.add(at, Flow::Failed),
            Kind::Listed | Kind::Aborted | Kind::SynRefused | Kind::Lost => {}
        }
    }

    /// Takes in what a connection was like.
    fn measure(&mut self, event: &Event) {
        if let Some(age_ns) = event.age_ns {
            self.age_us.add(age_ns / 1000);
            self.ages += 1;
            self.under_5ms += u64::from(age_ns < ONE_REQUEST_NS);
        }
        if let Some(bytes) = event.bytes_sent {
            self.sent.add(bytes);
        }
        if let Some(bytes) = event.bytes_received {
            self.received.add(bytes);
        }
    }

    pub(super) fn seen(&mut self, mono_ns: u64) {
        if self.first_ns == 0 {
            self.first_ns = mono_ns;
        }
        self.last_ns = self.last_ns.max(mono_ns);
    }

    pub(super) fn enter(&mut self) {
        self.live += 1;
        self.peak_live = self.peak_live.max(self.live);
    }

    pub(super) fn leave(&mut self) {
        self.live = self.live.saturating_sub(1);
    }

    /// TIME_WAIT sockets created with this role.
    pub fn created_as(&self, role: Role) -> u64 {
        self.roles[role as usize]
    }
}
