//! Owns: the keys of a snapshot's JSON object, in their order, and the objects that more than one of our JSON outputs has, with the same keys.
//! Must not know: where the values come from, which outputs those are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::diagnose::OneLine;
use crate::engine::{Dropped, Fullest, Percentiles, PortKey, Rates, Target, TupleKey};
use crate::model::clock::Clock;
use crate::model::event::Loss;
use crate::model::limitation::Limitation;

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

#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) time: String,
    pub(super) mono_ns: u64,
    pub(super) traced_ms: u64,
    pub(super) backend: &'a str,
    #[serde(flatten)]
    pub(super) total: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slab_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fullest: Option<Fullest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hottest: Option<Tuple>,
    pub(super) lost: Lost,
    pub(super) dropped: Dropped,
    pub(super) findings: Vec<OneLine>,
    pub(super) limitations: &'a [Limitation],
    pub(super) processes: Vec<Process>,
    pub(super) tuples: Vec<Tuple>,
    pub(super) peers: Vec<Peer>,
    pub(super) ports: Vec<Port>,
    pub(super) containers: Vec<Container>,
    pub(super) netns: Vec<Netns>,
    /// By table: what is not told apart for want of room.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) others: BTreeMap<&'static str, Tally>,
}

#[derive(Serialize)]
pub(super) struct Tally {
    pub(super) live: u64,
    pub(super) peak_live: u64,
    pub(super) created: u64,
    pub(super) listed: u64,
    pub(super) ended: u64,
    pub(super) ended_by: BTreeMap<&'static str, u64>,
    pub(super) overflow: u64,
    pub(super) connect_failed: u64,
    pub(super) bind_failed: u64,
    pub(super) aborted: u64,
    pub(super) syn_refused: u64,
    pub(super) created_as_client: u64,
    pub(super) created_as_server: u64,
    pub(super) created_in_fin_wait2: u64,
    pub(super) created_per_s: Rates,
    pub(super) ended_per_s: Rates,
    pub(super) failed_per_s: Rates,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_ms: Option<Milliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_sent: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_received: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_mono_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_mono_ns: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Ports {
    pub(super) ports_in_use: u32,
    pub(super) ports: u32,
    pub(super) pressure: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) full_in_s: Option<f64>,
}

/// What there is no owner for has no pid.
#[derive(Serialize)]
pub(super) struct PidAndComm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comm: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Dealing {
    #[serde(flatten)]
    pub(super) target: Target,
    pub(super) live: u64,
    pub(super) created: u64,
    pub(super) failed: u64,
    #[serde(flatten)]
    pub(super) ports: Option<Ports>,
}

#[derive(Serialize)]
pub(super) struct Process {
    #[serde(flatten)]
    pub(super) who: PidAndComm,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<String>,
    pub(super) gone: bool,
    #[serde(flatten)]
    pub(super) tally: Tally,
    #[serde(flatten)]
    pub(super) ports: Option<Ports>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) main: Option<Dealing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hottest: Option<Dealing>,
    pub(super) targets: usize,
    pub(super) meaning: String,
}

#[derive(Serialize)]
pub(super) struct Tuple {
    #[serde(flatten)]
    pub(super) key: TupleKey,
    #[serde(flatten)]
    pub(super) tally: Tally,
    #[serde(flatten)]
    pub(super) ports: Option<Ports>,
    #[serde(flatten)]
    pub(super) main: PidAndComm,
}

#[derive(Serialize)]
pub(super) struct Peer {
    pub(super) daddr: IpAddr,
    #[serde(flatten)]
    pub(super) tally: Tally,
}

#[derive(Serialize)]
pub(super) struct Port {
    #[serde(flatten)]
    pub(super) key: PortKey,
    #[serde(flatten)]
    pub(super) tally: Tally,
    #[serde(flatten)]
    pub(super) main: PidAndComm,
}

#[derive(Serialize)]
pub(super) struct Container {
    /// null: the host.
    pub(super) container: Option<String>,
    #[serde(flatten)]
    pub(super) tally: Tally,
}

#[derive(Serialize)]
pub(super) struct Netns {
    pub(super) netns: u32,
    #[serde(flatten)]
    pub(super) tally: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp_max_tw_buckets: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<u32>,
    #[serde(flatten)]
    pub(super) main: PidAndComm,
}
