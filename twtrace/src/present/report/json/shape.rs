//! Owns: the keys of a report's JSON object, in their order.
//! Must not know: where the values come from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::Entries;
use crate::diagnose::OneLine;
use crate::diagnose::finding::Remedy;
use crate::diagnose::json::First;
use crate::engine::{Percentiles, PortKey, Target, TupleKey};
use crate::present::live::keys::{Lost, Milliseconds};
use crate::recording::{Head, Namespace, Tail};

#[derive(Serialize)]
pub(super) struct Whole<'a> {
    pub(super) file: &'a str,
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recordings: Option<u64>,
    /// Neither live nor ended: nobody recorded what became of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<u64>,
    /// The recording has its end.
    pub(super) complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<&'a str>,
    /// Events that could not be read are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged: Option<&'a str>,
    pub(super) began: String,
    /// Not `ended`, which is a count.
    pub(super) ended_time: String,
    pub(super) duration_s: f64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) filters: &'a [String],
    #[serde(flatten)]
    pub(super) total: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_live_time: Option<String>,
    pub(super) peak_created_per_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_created_time: Option<String>,
    pub(super) lost: Lost,
    /// Left out under a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) findings: Option<Vec<FindingLine<'a>>>,
    /// What to try first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<First>,
    /// Left out where everything is told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folded: Option<Folded>,
    /// By the owner's name.
    pub(super) comms: Entries<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) processes: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peers: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tuples: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) containers: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) netns: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasons: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hosts: Option<Entries<'a>>,
    pub(super) timeline: Timeline,
    /// Of several machines, each; times are then since 1970.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) heads: Vec<&'a Head>,
    /// As they stand in the recording.
    pub(super) head: &'a Head,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<&'a Tail>,
    #[serde(skip_serializing_if = "<[Namespace]>::is_empty")]
    pub(super) met: &'a [Namespace],
}

/// A finding in one line, and what would help.
#[derive(Serialize)]
pub(super) struct FindingLine<'a> {
    #[serde(flatten)]
    pub(super) line: OneLine,
    pub(super) remedies: &'a [Remedy],
}

/// What is not told apart, and why.
#[derive(Serialize)]
pub(super) struct Folded {
    /// Combinations of a process, its peer and its port that are told apart at most.
    pub(super) most_groups: usize,
    /// Events of others.
    pub(super) events: u64,
    /// Texts and addresses that there was no room for.
    pub(super) texts: u64,
    /// Rows of a table at most.
    pub(super) most_rows: usize,
    /// Owners' names in the row of others.
    pub(super) names: u64,
    /// The same by table.
    pub(super) rows: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
pub(super) struct Tally {
    pub(super) created: u64,
    pub(super) listed: u64,
    pub(super) created_per_s: f64,
    pub(super) ended: u64,
    pub(super) ended_per_s: f64,
    pub(super) ended_by: BTreeMap<&'static str, u64>,
    pub(super) overflow: u64,
    pub(super) connect_failed: u64,
    pub(super) bind_failed: u64,
    pub(super) aborted: u64,
    pub(super) syn_refused: u64,
    pub(super) live: u64,
    pub(super) peak_live: u64,
    pub(super) created_as_client: u64,
    pub(super) created_as_server: u64,
    pub(super) created_in_fin_wait2: u64,
    pub(super) created_by_owner_via: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_ms: Option<Milliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lifetime_ms: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_sent: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_received: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_mono_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_mono_ns: Option<u64>,
    /// Of a process, a tuple and all together: the fullest pool of ports at the worst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak: Option<Fullest>,
}

#[derive(Serialize)]
pub(super) struct Fullest {
    #[serde(flatten)]
    pub(super) tuple: TupleKey,
    pub(super) ports_in_use: u32,
    pub(super) ports: u32,
    pub(super) pressure: f64,
    pub(super) time: String,
}

#[derive(Serialize)]
pub(super) struct TableEntry {
    /// Whose it is, where there are several machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(flatten)]
    pub(super) name: Named,
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// What a process mainly deals with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Target>,
    /// Name of the process that most of a tuple or a port is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) main: Option<String>,
    #[serde(flatten)]
    pub(super) called: Option<Called>,
}

/// What a container's runtime calls it, by the keys of events.
#[derive(Serialize)]
pub(super) struct Called {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod_namespace: Option<String>,
}

/// What a row is about.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Named {
    Process {
        pid: u32,
        comm: String,
        uid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        exe: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
    },
    Comm {
        comm: String,
    },
    Tuple(TupleKey),
    Port(PortKey),
    Peer {
        daddr: IpAddr,
    },
    /// The host has none.
    Container {
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
    },
    Netns {
        netns: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    Reason {
        reason: &'static str,
    },
    /// A machine, between two boots.
    Host {
        host: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        machine_id: String,
        boot_id: String,
        kernel: String,
        recordings: u64,
    },
    /// Sockets whose owner nobody knows; all that could not be told apart.
    Marked {
        #[serde(skip_serializing_if = "Option::is_none")]
        unknown: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        others: Option<bool>,
    },
}

#[derive(Serialize)]
pub(super) struct Timeline {
    pub(super) every_ms: f64,
    pub(super) stretches: Vec<Stretch>,
}

/// A stretch of time.
#[derive(Serialize)]
pub(super) struct Stretch {
    pub(super) time: String,
    pub(super) mono_ns: u64,
    pub(super) created: u32,
    pub(super) ended: u32,
    pub(super) overflow: u32,
    pub(super) connect_failed: u32,
    pub(super) bind_failed: u32,
    pub(super) aborted: u32,
    pub(super) lost: u32,
    pub(super) live: u32,
    pub(super) peak_live: u32,
    pub(super) pressure: f64,
}
