//! Owns: what becomes of what was to be exported, in numbers.
//! Must not know: why.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of one kind of things.
#[derive(Debug, Default)]
pub(super) struct Count {
    sent: AtomicU64,
    lost: AtomicU64,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Fate {
    is_up: AtomicBool,
    failures: AtomicU64,
    /// Data points of metrics.
    pub(super) points: Count,
    /// Findings.
    pub(super) findings: Count,
}

impl Count {
    /// The endpoint has taken so many.
    pub(super) fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// So many will never come there.
    pub(super) fn lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Sent and lost so far.
    pub(super) fn told(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

impl Fate {
    /// The endpoint took something.
    pub(super) fn succeeded(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// The endpoint took nothing.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.is_up.store(false, Ordering::Relaxed);
    }

    /// Whether the last attempt succeeded, and how many did not.
    pub(super) fn told(&self) -> (bool, u64) {
        (self.is_up.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }
}
