//! Owns: what is only counted: RSTs that this host sent, SYNs that were refused, and what the kernel's own counters say of them.
//! Must not know: how it was counted, what it means.

use std::net::IpAddr;

use serde::Serialize;

use super::Process;
use crate::net::counters::Counters;

/// Connections that a process ended with an RST.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Aborted {
    /// Who.
    pub process: Process,
    /// With SO_LINGER 0.
    pub linger: u64,
    /// With data that nobody had read.
    pub unread_data: u64,
    /// For another reason.
    pub other: u64,
}

impl Aborted {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.linger + self.unread_data + self.other
    }
}

/// SYNs that a TIME_WAIT socket refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SynRefused {
    /// The local port.
    pub port: u16,
    /// Who sent them.
    pub peer: IpAddr,
    /// How many.
    pub count: u64,
}

/// The kernel's counters over the time of looking; see [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "see Counters")]
pub struct Counted {
    pub paws_timewait: Option<u64>,
    pub abort_on_data: Option<u64>,
    pub abort_on_close: Option<u64>,
    pub syn_retrans: Option<u64>,
    pub listen_overflows: Option<u64>,
    pub orphans: Option<u64>,
    pub max_orphans: Option<u64>,
}

impl From<Counters> for Counted {
    fn from(counters: Counters) -> Self {
        let Counters { paws_timewait, abort_on_data, abort_on_close, syn_retrans, .. } = counters;
        let Counters { listen_overflows, orphans, max_orphans, .. } = counters;
        Self {
            paws_timewait,
            abort_on_data,
            abort_on_close,
            syn_retrans,
            listen_overflows,
            orphans,
            max_orphans,
        }
    }
}
