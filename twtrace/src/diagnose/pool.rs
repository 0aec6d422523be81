//! Owns: what state a pool of ports is in, and the one cause that a finding about it is named after.
//! Must not know: what is said about it.
//!
//! One pool gets one finding, the most telling one: a pool that is exhausted by sockets that are open is not also told as
//! exhausted by TIME_WAIT.

use super::facts::{Netns, Ports, Reach, Tuple};
use super::predict;
use super::range::Range;

/// Below this many connections, a rate would be a guess.
pub(super) const ENOUGH: u64 = 10;
/// A pool that is so full is about to run out, whatever its rate.
const NEARLY_FULL: f64 = 0.8;
/// A pool towards this very machine that is so full of TIME_WAIT is worth a word.
const BUSY: f64 = 0.25;
/// FIN_WAIT2 that holds such a share of a pool is worth a word.
const HALF_CLOSED: f64 = 0.2;

/// So many ports may be unaccounted for: a look comes a little after the failure that it was asked for by.
fn slack(ports: u32) -> u32 {
    (ports / 10).max(2).min(ports / 2)
}

/// Whether `tcp_tw_reuse` gives the ports of a pool's TIME_WAIT sockets back to connect().
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reuse {
    /// It does.
    Works,
    /// It is set, and whether both ends have timestamps is not known.
    MayWork,
    /// It is set, but the connections have no timestamps.
    NoTimestamps,
    /// It is set for loopback, and this is none.
    LoopbackOnly,
    /// Most ports came from bind(), and connect() passes by those.
    Bound,
    /// It is not set.
    Off,
    /// The setting is not known.
    Unknown,
}

/// What has most of the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MainHolder {
    TimeWait,
    FinWait2,
    /// Full sockets in this state.
    Open(Open),
    /// Listeners, sockets that are bound and nothing else, and what bind() has taken for other destinations.
    Bound,
    /// All of a range that is a part of the namespace's.
    OwnRange(Range),
    /// Nothing that was looked at.
    Unexplained,
}

/// The states of full sockets that have a cause each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Established,
    SynSent,
    CloseWait,
    FinWait2,
    Unacknowledged,
}

impl Open {
    /// How many ports of a pool are in it.
    pub(super) fn of(self, ports: &Ports) -> u32 {
        match self {
            Self::Established => ports.established + ports.others,
            Self::SynSent => ports.syn_sent,
            Self::CloseWait => ports.close_wait,
            Self::FinWait2 => ports.fin_wait2_held,
            Self::Unacknowledged => ports.unacknowledged,
        }
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Strain {
    /// connect() fails.
    Failing,
    /// It will fail, in so many seconds where that can be told.
    RunningOut(Option<f64>),
    /// Nothing to fear.
    Calm,
}

/// Why reuse that is set does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// No timestamps.
    Timestamps,
    /// An own address that the kernel does not take for loopback.
    NotLoopback,
    /// Ports are needed again before the TIME_WAIT sockets are old enough.
    TooYoung,
}

/// What a finding about a pool is named after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// TIME_WAIT sockets hold the ports, connect() fails.
    Exhausted,
    /// TIME_WAIT sockets hold the ports, it will fail.
    RunningOut(Option<f64>),
    /// Open sockets in this state hold the ports.
    HeldOpen(Open),
    /// bind() holds the ports.
    Bound,
    /// A range that is a part of the namespace's is full.
    OwnRange(Range),
    /// connect() fails before a port is looked for: there is no address to connect from, for this reason.
    NoSource(&'static str),
    /// connect() fails, and what was looked at does not say why.
    NotExplained,
    /// Orphans that wait for their peer's FIN hold the ports.
    HalfClosed,
    /// TIME_WAIT sockets hold the ports, and the reuse that is set for them cannot work.
    ReuseBroken(WhyNot),
    /// Many short connections within one machine.
    LoopbackBackend,
}

/// A pool in its namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool<'a> {
    pub(super) netns: &'a Netns,
    pub(super) tuple: &'a Tuple,
    /// See [`super::facts::Facts::observed_s`].
    pub(super) observed_s: f64,
}

impl Pool<'_> {
    /// Ports that connect() can choose from.
    pub(super) fn ports(&self) -> Option<u32> {
        self.netns.settings.ports.filter(|ports| *ports != 0)
    }

    /// TIME_WAIT sockets made a second.
    pub(super) fn rate(&self) -> f64 {
        self.tuple.created as f64 / self.observed_s
    }

    pub(super) fn reuse(&self) -> Reuse {
        if self.tuple.bound * 2 > self.tuple.now.time_wait.max(self.tuple.peak.time_wait) {
            return Reuse::Bound;
        }
        let applies = match self.netns.settings.tw_reuse {
            None if self.tuple.reused != 0 => return Reuse::Works,
            None => return Reuse::Unknown,
            Some(0) => return Reuse::Off,
            Some(2) => match self.tuple.reach {
                Reach::Loopback => true,
                // Addresses need not be known to tell 127.0.0.1.
                Reach::ThisHost | Reach::Elsewhere | Reach::Unknown => false,
            },
            Some(_) => true,
        };
        match (applies, self.tuple.timestamps) {
            (false, _) => Reuse::LoopbackOnly,
            (true, Some(false)) => Reuse::NoTimestamps,
            (true, Some(true)) => Reuse::Works,
            (true, None) => Reuse::MayWork,
        }
    }

    /// How old a TIME_WAIT socket must be for reuse, in seconds.
    pub(super) fn reuse_after_s(&self) -> f64 {
        self.netns.settings.tw_reuse_delay_ms.map_or(predict::REUSE_S, |ms| f64::from(ms.max(1)) / 1000.0)
    }

    /// How long a closed connection keeps its port from the next connect(), in seconds.
    pub(super) fn hold_s(&self) -> f64 {
        match self.reuse() {
            Reuse::Works => self.reuse_after_s().min(predict::TIME_WAIT_S),
            _ => predict::TIME_WAIT_S,
        }
    }

    /// Ports that no connect() to this destination can have now: those in use, less TIME_WAIT that reuse gives back.
    pub(super) fn in_use(&self, ports: Ports) -> u32 {
        let waiting = if self.reuse() == Reuse::Works {
            ports.time_wait.min(predict::held(self.rate(), self.hold_s()).ceil() as u32)
        } else {
            ports.time_wait
        };
        waiting + ports.fin_wait2 + ports.open()
    }

    /// Ports that are pinned by listeners and bound sockets, for every destination.
    fn pinned(&self) -> u32 {
        self.netns.pinned.unwrap_or(0)
    }

    /// Ports that bind() has closed to this pool's connect(), beside listeners and sockets that are bound and nothing else: known to
    /// be so; or on sockets of other pools, whose ports would be open to this one had connect() chosen them.
    pub(super) fn closed(&self) -> u32 {
        let Some(around) = &self.tuple.around else { return 0 };
        (around.others - around.shared.min(around.others)).max(around.bound)
    }

    pub(super) fn main_holder(&self) -> MainHolder {
        let own = self.own_holder();
        if self.tuple.failed == 0 {
            return own.0;
        }
        // Where the namespace's range is not known, what holds most is all that can be said of it.
        let Some(ports) = self.ports() else { return self.own_range().map_or(own.0, MainHolder::OwnRange) };
        let (bound, pool) = (self.pinned() + self.closed(), self.tuple.peak.all());
        let is_full = |in_use: u32| in_use + slack(ports) >= ports;
        if is_full(pool + self.pinned()) {
            return if self.pinned() > own.1 { MainHolder::Bound } else { own.0 };
        }
        // What the sockets themselves say needs no inference.
        let said = Range::of_sockets(&self.tuple.ranged, &self.netns.settings);
        if let Some(range) = self.own_range().filter(|range| said == Some(*range)) {
            return MainHolder::OwnRange(range);
        }
        if is_full(pool + bound) {
            return if bound > own.1 { MainHolder::Bound } else { own.0 };
        }
        self.own_range().map_or(MainHolder::Unexplained, MainHolder::OwnRange)
    }

    /// What holds most of the pool's own ports, and how many.
    fn own_holder(&self) -> (MainHolder, u32) {
        let peak = &self.tuple.peak;
        let open = |state: Open| (MainHolder::Open(state), state.of(peak));
        // Of equals the first.
        let pinned = if self.tuple.failed == 0 { self.pinned() } else { 0 };
        let all = [
            (MainHolder::TimeWait, peak.time_wait),
            (MainHolder::FinWait2, peak.fin_wait2),
            open(Open::Established),
            open(Open::SynSent),
            open(Open::CloseWait),
            open(Open::FinWait2),
            open(Open::Unacknowledged),
            (MainHolder::Bound, pinned),
        ];
        all.into_iter().reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or((MainHolder::Unexplained, 0))
    }

    /// A range that is a part of the namespace's, all of it in use: that of the sockets which failed, else what ports in a row say. Where
    /// bound sockets may have the rest of the range, and the kernel does not show them, a row says nothing.
    fn own_range(&self) -> Option<Range> {
        let settings = &self.netns.settings;
        if let Some(range) = Range::of_sockets(&self.tuple.ranged, settings) {
            let in_use = self.tuple.around.as_ref()?.in_own_range;
            return (in_use + slack(range.ports) >= range.ports).then_some(range);
        }
        let may_be_bound = self.netns.lists_bound == Some(false);
        if may_be_bound { None } else { Range::inferred(self.tuple, settings) }
    }

    pub(super) fn strain(&self) -> Strain {
        if self.tuple.failed != 0 {
            return Strain::Failing;
        }
        let Some(ports) = self.ports() else { return Strain::Calm };
        let room = ports.saturating_sub(self.pinned());
        let in_use = self.in_use(self.tuple.now);
        let (rate, ended) = (self.rate(), self.tuple.ended as f64 / self.observed_s);
        let open = f64::from(self.tuple.now.open());
        let outgrows = open + predict::held(rate, self.hold_s()) > f64::from(room);
        if self.tuple.created >= ENOUGH && outgrows {
            // What others use up is not in the rates where they were left out.
            let full_in_s = predict::full_in_s(room, in_use, rate, ended);
            let full_in_s = full_in_s.filter(|seconds| *seconds == 0.0 || !self.netns.pools_are_parts);
            return Strain::RunningOut(full_in_s);
        }
        let most = in_use.max(self.in_use(self.tuple.peak));
        if u64::from(most) >= ENOUGH && f64::from(most) >= NEARLY_FULL * f64::from(room) {
            return Strain::RunningOut(predict::full_in_s(room, in_use, 0.0, 0.0));
        }
        Strain::Calm
    }

    fn broken_reuse(&self) -> Option<WhyNot> {
        match (self.reuse(), self.tuple.reach) {
            (Reuse::NoTimestamps, _) => Some(WhyNot::Timestamps),
            (Reuse::LoopbackOnly, Reach::ThisHost) => Some(WhyNot::NotLoopback),
            (Reuse::Works, _) => Some(WhyNot::TooYoung),
            _ => None,
        }
    }

    fn share(&self, count: u32) -> f64 {
        self.ports().map_or(0.0, |ports| f64::from(count) / f64::from(ports))
    }

    /// What a finding about it is named after; `None`: there is nothing to say.
    pub(super) fn cause(&self) -> Option<Cause> {
        let strain = self.strain();
        if strain != Strain::Calm {
            // Without an address no port is looked for, whoever has them.
            if let (Strain::Failing, Some(why), 0) = (strain, self.tuple.no_source, self.tuple.peak.all()) {
                return Some(Cause::NoSource(why));
            }
            return Some(match (self.main_holder(), strain) {
                (MainHolder::Open(state), _) => Cause::HeldOpen(state),
                (MainHolder::Bound, _) => Cause::Bound,
                (MainHolder::OwnRange(range), _) => Cause::OwnRange(range),
                (MainHolder::Unexplained, _) => {
                    self.tuple.no_source.map_or(Cause::NotExplained, Cause::NoSource)
                }
                (MainHolder::FinWait2, _) => Cause::HalfClosed,
                (MainHolder::TimeWait, strain) => match (self.broken_reuse(), strain) {
                    (Some(why), _) => Cause::ReuseBroken(why),
                    (None, Strain::RunningOut(full_in_s)) => Cause::RunningOut(full_in_s),
                    (None, _) => Cause::Exhausted,
                },
            });
        }
        let now = self.tuple.now;
        if u64::from(now.fin_wait2) >= ENOUGH && self.share(now.fin_wait2) >= HALF_CLOSED {
            return Some(Cause::HalfClosed);
        }
        let is_local = matches!(self.tuple.reach, Reach::Loopback | Reach::ThisHost);
        let is_busy =
            self.tuple.created >= ENOUGH && self.share(now.time_wait) >= BUSY && !self.netns.pools_are_parts;
        (is_local && is_busy).then_some(Cause::LoopbackBackend)
    }
}
