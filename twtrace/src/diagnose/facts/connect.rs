//! Owns: how long connect() looked for a port in a namespace.
//! Must not know: how that was measured, what it means.

use serde::Serialize;

use crate::engine::{Percentiles, Spread};

/// How long connect() looked for a port: inet_hash_connect() (net/ipv4/inet_hashtables.c, 5.10 to 7.3) from entry to
/// exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectTimes {
    /// Calls that were timed.
    pub calls: u64,
    /// Half of them took at most so long, in microseconds.
    pub p50_us: u64,
    /// 99 % of them.
    pub p99_us: u64,
}

impl ConnectTimes {
    /// `None` where there were no calls.
    pub fn of(times: &Spread) -> Option<Self> {
        let Percentiles { p50, p99, .. } = times.percentiles()?;
        Some(Self { calls: times.len(), p50_us: p50, p99_us: p99 })
    }
}
