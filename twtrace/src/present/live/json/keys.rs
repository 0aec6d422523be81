//! Owns: the objects that more than one of our JSON outputs has, with the same keys.
//! Must not know: which outputs those are.

use serde::Serialize;

use crate::engine::{Percentiles, Target};
use crate::model::event::Loss;

/// Percentiles.
#[derive(Serialize)]
pub(crate) struct Shares<T> {
    p50: T,
    p90: T,
    p99: T,
}

impl From<Percentiles> for Shares<u64> {
    fn from(all: Percentiles) -> Self {
        Self { p50: all.p50, p90: all.p90, p99: all.p99 }
    }
}

impl Shares<f64> {
    /// Milliseconds, from percentiles in microseconds.
    pub(crate) fn ms(us: Percentiles) -> Self {
        let ms = |us: u64| us as f64 / 1000.0;
        Self { p50: ms(us.p50), p90: ms(us.p90), p99: ms(us.p99) }
    }
}

/// What was lost, and may have been.
#[derive(Serialize)]
pub(crate) struct Lost {
    count: u64,
    created: u64,
    ended: u64,
    overflow: u64,
    connect_failed: u64,
    bind_failed: u64,
    aborted: u64,
    syn_refused: u64,
    owners: u64,
    missed_runs: u64,
    missed: u64,
    unwritten: u64,
}

impl From<Loss> for Lost {
    fn from(loss: Loss) -> Self {
        Self {
            count: loss.events(),
            created: loss.created,
            ended: loss.ended,
            overflow: loss.overflow,
            connect_failed: loss.connect_failed,
            bind_failed: loss.bind_failed,
            aborted: loss.aborted,
            syn_refused: loss.syn_refused,
            owners: loss.owners,
            missed_runs: loss.missed_runs,
            missed: loss.missed,
            unwritten: loss.unwritten,
        }
    }
}

/// A pool of ports, or a served port.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Towards {
    Tuple { netns: u32, saddr: String, daddr: String, dport: u16 },
    Port { netns: u32, sport: u16 },
}

impl From<&Target> for Towards {
    fn from(target: &Target) -> Self {
        match target {
            Target::Tuple(key) => Self::Tuple {
                netns: key.netns,
                saddr: key.saddr.to_string(),
                daddr: key.daddr.to_string(),
                dport: key.dport,
            },
            Target::Port(key) => Self::Port { netns: key.netns, sport: key.sport },
        }
    }
}
