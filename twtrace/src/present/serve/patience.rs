//! Owns: how long a connection may be at what it does.
//! Must not know: what it does.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::model::clock;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its first request has not come.
    New,
    /// An answer is being made.
    Answering,
    /// An answer was given; it is being read, or another request may come.
    Idle,
}

impl Phase {
    /// The usual times between two scrapes are shorter than what an idle connection has: scrapes come on one.
    const fn patience(self) -> Duration {
        match self {
            Self::New => Duration::from_secs(5),
            Self::Answering => Duration::from_secs(10),
            Self::Idle => Duration::from_secs(180),
        }
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Patience {
    phase: AtomicU8,
    since_ns: AtomicU64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { phase: AtomicU8::new(Phase::New as u8), since_ns: AtomicU64::new(clock::mono_ns()) }
    }
}

impl Patience {
    /// It is now at something else.
    pub(super) fn enter(&self, phase: Phase) {
        self.since_ns.store(clock::mono_ns(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// What it is at.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::New,
            1 => Phase::Answering,
            _ => Phase::Idle,
        }
    }

    /// Since when, CLOCK_MONOTONIC in nanoseconds.
    pub(super) fn since_ns(&self) -> u64 {
        self.since_ns.load(Ordering::Relaxed)
    }

    /// How long it may still be at it; `None` if it has been too long.
    fn left(&self, now_ns: u64) -> Option<Duration> {
        let passed = Duration::from_nanos(now_ns.saturating_sub(self.since_ns()));
        self.phase().patience().checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// Until it has been at something for too long.
    pub(super) async fn ends(&self) {
        while let Some(left) = self.left(clock::mono_ns()) {
            tokio::time::sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_time() {
        let patience = Patience::default();
        let at = |patience: &Patience, s: u64| patience.left(patience.since_ns() + s * 1_000_000_000);
        assert_eq!((at(&patience, 4), at(&patience, 5)), (Some(Duration::from_secs(1)), None));
        for (phase, s) in [(Phase::Answering, 10), (Phase::Idle, 180), (Phase::New, 5)] {
            patience.enter(phase);
            assert_eq!(patience.phase(), phase);
            assert_eq!((at(&patience, s - 1), at(&patience, s)), (Some(Duration::from_secs(1)), None));
        }
    }
}
