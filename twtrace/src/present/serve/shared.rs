//! Owns: what those who answer and those who export share: where pictures come from, who may ask, and what both count of themselves.
//! Must not know: connections, endpoints, what is answered.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::StatusCode;

use super::access::Token;
use super::board::Board;
use super::families::{Exported, Served};
use super::refusals::Refusals;
use crate::model::clock::Clock;

/// What all answers are made of.
pub struct Shared {
    /// Where pictures come from.
    pub(super) board: Arc<Board>,
    /// Who may ask; all, where there is none.
    pub(super) token: Option<Token>,
    /// So many owners, destinations and pools are told apart.
    pub(super) top: usize,
    /// When this process started, CLOCK_BOOTTIME in nanoseconds.
    pub(super) started_ns: u64,
    clock: Mutex<Clock>,
    /// What was counted here.
    pub(super) counters: Counters,
    /// What becomes of what is exported.
    pub(super) fate: Fate,
    is_exporting: bool,
}

impl Shared {
    /// Answers from `board`, with the `top` busiest told apart, those who know the token.
    pub fn new(board: Arc<Board>, token: Option<Token>, top: usize) -> Self {
        let clock = Clock::of_boot();
        let (started_ns, clock) = (clock.mono_ns, Mutex::new(clock));
        let (counters, fate) = (Counters::default(), Fate::default());
        Self { board, token, top, started_ns, clock, counters, fate, is_exporting: false }
    }

    /// What ties CLOCK_BOOTTIME to the calendar, which may have been set since the last time: a service may start before the network has told
    /// the time.
    pub(super) fn clock(&self) -> Clock {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.follow(Clock::of_boot());
        *clock
    }

    /// When this process started, in seconds since 1970.
    pub(super) fn started_s(&self) -> f64 {
        self.clock().wall_ns(self.started_ns) as f64 / 1e9
    }

    /// The same is exported.
    #[must_use]
    pub fn exported(self) -> Self {
        Self { is_exporting: true, ..self }
    }

    /// What is told of those who answer and export.
    pub(super) fn served(&self) -> Served {
        let Fate { points, findings, .. } = &self.fate;
        let exported = self.is_exporting.then(|| {
            let (is_up, failures) = self.fate.told();
            Exported { is_up, failures, points: points.told(), findings: findings.told() }
        });
        Served { exported, ..self.counters.served() }
    }
}

/// What the server counts of itself.
#[derive(Debug, Default)]
pub(super) struct Counters {
    refused: AtomicU64,
    failed_handshakes: AtomicU64,
    refusals: Mutex<Refusals>,
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    pub(super) fn answered(&self, status: StatusCode) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(status.as_u16()).or_default() += 1;
    }

    /// A connection that came to nothing. Whose certificate was refused hears no reason, and who runs this has to know it.
    pub(super) fn failed_handshake(&self, error: &io::Error, peer: io::Result<SocketAddr>) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        let told = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).told(error, Instant::now());
        if let Some(why) = told {
            let who =
                peer.map_or_else(|_| "a client".to_owned(), |peer| peer.ip().to_canonical().to_string());
            crate::note!("twtrace: refused the certificate of {who}: {why}; said once an hour");
        }
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn served(&self) -> Served {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = answers.iter().map(|(status, count)| (*status, *count)).collect();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Served {
            refused: count(&self.refused),
            failed_handshakes: count(&self.failed_handshakes),
            answers,
            exported: None,
        }
    }
}

/// Counts of one kind of things.
#[derive(Debug, Default)]
pub(super) struct Count {
    sent: AtomicU64,
    lost: AtomicU64,
}

/// What becomes of what was to be exported, in numbers.
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
