//! Owns: how many ports each tuple has left, counted from the sockets that are there.
//! Must not know: how sockets are listed.

use std::collections::{HashMap, HashSet};

use super::gather::Seen;
use crate::engine::TupleKey;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::pool::Pressure;

/// A pool of ports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub key: TupleKey,
    /// How much of it is in use; of a moment no rate is known.
    pub pressure: Pressure,
}

/// The pools of all namespaces whose ports are known, the fullest first.
pub fn pools(all: &[Seen]) -> Vec<Pool> {
    let mut pools: Vec<Pool> = all.iter().flat_map(pools_of).collect();
    pools.sort_unstable_by(|a, b| {
        b.pressure.fraction().total_cmp(&a.pressure.fraction()).then_with(|| a.key.cmp(&b.key))
    });
    pools
}

fn pools_of(seen: &Seen) -> Vec<Pool> {
    let Some(capacity) = &seen.capacity else { return Vec::new() };
    let drawn = |socket: &&DiagSocket| {
        socket.dport != 0 && capacity.settings.has(socket.sport) && !seen.listeners.contains(&socket.sport)
    };
    // A port counts once: it can be bound by several sockets with SO_REUSEADDR.
    let mut held: HashMap<TupleKey, [HashSet<u16>; 2]> = HashMap::new();
    for socket in seen.sockets.iter().filter(drawn) {
        let (saddr, daddr) = (socket.local_ip(), socket.remote_ip());
        let key = TupleKey { netns: seen.netns, saddr, daddr, dport: socket.dport };
        held.entry(key).or_default()[usize::from(!socket.is_time_wait())].insert(socket.sport);
    }
    let pool = |(key, [time_wait, others]): (TupleKey, [HashSet<u16>; 2])| {
        let others = others.difference(&time_wait).count() as u32;
        Pool { key, pressure: Pressure::now(time_wait.len() as u32, others, capacity.ports()) }
    };
    held.into_iter().map(pool).collect()
}
