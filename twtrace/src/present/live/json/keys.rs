//! Owns: the objects that more than one of our JSON outputs has, with the same keys.
//! Must not know: which outputs those are.

use serde::Serialize;

use crate::engine::Percentiles;
use crate::model::clock::Clock;
use crate::model::event::Loss;

/// A time of CLOCK_MONOTONIC as RFC 3339 has it, in UTC.
pub(crate) fn time(clock: Clock, mono_ns: u64) -> String {
    clock.time(mono_ns).strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// Percentiles in milliseconds.
#[derive(Serialize)]
pub(crate) struct Milliseconds {
    p50: f64,
    p90: f64,
    p99: f64,
}

impl From<Percentiles> for Milliseconds {
    /// From microseconds.
    fn from(us: Percentiles) -> Self {
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
