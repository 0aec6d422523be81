//! Owns: sockets counted: per TCP state, per namespace, per pool of ports.
//! Must not know: how it is shown.

use serde::Serialize;

use super::gather::Seen;
use super::pools::{Pool, pools};
use crate::host::net::slabinfo::TimeWaitSlab;
use crate::host::net::sockdiag::state_name;

/// Numbers of the TCP states that sockets are listed in (include/net/tcp_states.h, 5.10 to 7.3).
const STATES: std::ops::RangeInclusive<u8> = 1..=11;

/// A namespace's TIME_WAIT sockets against its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetnsCount {
    /// Inode of the namespace.
    pub netns: u32,
    /// See [`Seen::called`].
    #[serde(skip)]
    pub name: String,
    /// TIME_WAIT sockets, in either substate.
    pub time_wait: u64,
    /// Its `tcp_max_tw_buckets`, where that can be read.
    #[serde(rename = "tcp_max_tw_buckets", skip_serializing_if = "Option::is_none")]
    pub max_tw_buckets: Option<u32>,
    /// Ephemeral ports that it allows, where that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<u32>,
}

/// Sockets counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Sockets in each TCP state, as `netstat` and `ss` count them: an orphan that waits for its peer's FIN in a TIME_WAIT socket
    /// is in FIN_WAIT2.
    pub states: Vec<(&'static str, u64)>,
    /// TIME_WAIT sockets in true TIME_WAIT.
    pub in_time_wait: u64,
    /// TIME_WAIT sockets in FIN_WAIT2.
    pub in_fin_wait2: u64,
    /// By namespace, most TIME_WAIT sockets first.
    pub namespaces: Vec<NetnsCount>,
    /// Pools of ports, the fullest first.
    pub pools: Vec<Pool>,
    /// Memory of the machine's TIME_WAIT sockets; `None` where it may not be read.
    pub slab: Option<TimeWaitSlab>,
}

impl Summary {
    /// Counts what was seen in all states.
    pub fn of(all: &[Seen], slab: Option<TimeWaitSlab>) -> Self {
        let sockets = || all.iter().flat_map(|seen| &seen.sockets);
        let in_state = |state: u8| sockets().filter(|socket| socket.state == state).count() as u64;
        let waiting = |state: u8| sockets().filter(|s| s.is_time_wait() && s.state == state).count() as u64;
        let mut namespaces: Vec<NetnsCount> = all
            .iter()
            .map(|seen| NetnsCount {
                netns: seen.netns,
                name: seen.called(),
                time_wait: seen.sockets.iter().filter(|socket| socket.is_time_wait()).count() as u64,
                max_tw_buckets: seen.capacity.as_ref().and_then(|capacity| capacity.settings.max_tw_buckets),
                ports: seen.capacity.as_ref().map(|capacity| capacity.ports()),
            })
            .collect();
        namespaces.sort_unstable_by_key(|row| (std::cmp::Reverse(row.time_wait), row.netns));
        Self {
            states: STATES.map(|state| (state_name(state), in_state(state))).collect(),
            in_time_wait: waiting(twtrace_common::wire::SUBSTATE_TIME_WAIT),
            in_fin_wait2: waiting(twtrace_common::wire::SUBSTATE_FIN_WAIT2),
            namespaces,
            pools: pools(all),
            slab,
        }
    }

    /// Sockets in any state.
    pub fn sockets(&self) -> u64 {
        self.states.iter().map(|(_, count)| count).sum()
    }
}
