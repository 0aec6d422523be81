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
    #[serde(flatten)]
    parts: Loss,
}

impl From<Loss> for Lost {
    fn from(parts: Loss) -> Self {
        Self { count: parts.events(), parts }
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
