//! Owns: sockets counted: per TCP state, per namespace, per pool of ports, and in namespaces that are not listed.
//! Must not know: how sockets are listed, how it is shown.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::gather::NetnsSockets;
use crate::engine::TupleKey;
use crate::host::net::books::time_waits;
use crate::host::net::netns::{host_inode, own_inode, survey};
use crate::host::net::slabinfo::TimeWaitSlab;
use crate::host::net::sockdiag::{DiagSocket, state_name};
use crate::model::escape::printable;
use crate::model::figures::grouped;
use crate::model::ordering::Ordered as _;
use crate::model::pool::Pressure;

/// Numbers of the TCP states that sockets are listed in (include/net/tcp_states.h, 5.10 to 7.3).
const STATES: std::ops::RangeInclusive<u8> = 1..=11;

/// A namespace's TIME_WAIT sockets against its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetnsCount {
    /// Inode of the namespace.
    pub netns: u32,
    /// See [`NetnsSockets::called`].
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
    pub pools: Vec<PoolPressure>,
    /// Memory of the machine's TIME_WAIT sockets; `None` where it may not be read.
    pub slab: Option<TimeWaitSlab>,
}

impl Summary {
    /// Counts what was seen in all states.
    pub fn of(all: &[NetnsSockets], slab: Option<TimeWaitSlab>) -> Self {
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
        namespaces.order_by_key(|row| (std::cmp::Reverse(row.time_wait), row.netns));
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

/// A pool of ports, and how full it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolPressure {
    /// Its name.
    pub key: TupleKey,
    /// How much of it is in use; of a moment no rate is known.
    pub pressure: Pressure,
}

/// The pools of all namespaces whose ports are known, the fullest first.
pub fn pools(all: &[NetnsSockets]) -> Vec<PoolPressure> {
    let mut pools: Vec<PoolPressure> = all.iter().flat_map(pools_of).collect();
    pools.order_by(|a, b| {
        b.pressure.fraction().total_cmp(&a.pressure.fraction()).then_with(|| a.key.cmp(&b.key))
    });
    pools
}

fn pools_of(seen: &NetnsSockets) -> Vec<PoolPressure> {
    let Some(capacity) = &seen.capacity else { return Vec::new() };
    let drawn = |socket: &&DiagSocket| {
        socket.dport != 0 && capacity.settings.has(socket.sport) && !seen.listeners.contains(&socket.sport)
    };
    // A port counts once: it can be bound by several sockets with SO_REUSEADDR.
    let mut held: HashMap<TupleKey, [HashSet<u16>; 2]> = HashMap::new();
    for socket in seen.sockets.iter().filter(drawn) {
        let key = TupleKey::from(&socket.conn(seen.netns));
        held.entry(key).or_default()[usize::from(!socket.is_time_wait())].insert(socket.sport);
    }
    let pool = |(key, [time_wait, others]): (TupleKey, [HashSet<u16>; 2])| {
        let others = others.difference(&time_wait).count() as u32;
        PoolPressure { key, pressure: Pressure::now(time_wait.len() as u32, others, capacity.ports()) }
    };
    held.into_iter().map(pool).collect()
}

/// Namespaces that are named.
const NAMED: usize = 3;

/// What other namespaces than the caller's own hold, as far as it can be seen: what each is called, escaped, and its TIME_WAIT sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere(Vec<(String, u64)>);

impl Elsewhere {
    /// Asks the kernel how many sockets there are, which takes no list of them.
    pub fn count() -> Self {
        let Ok(own) = own_inode() else { return Self::default() };
        let (mut others, host) = (survey().namespaces, host_inode());
        others.retain(|netns| netns.inode != own);
        // What cannot be seen is not spoken of: `--all-netns` says why.
        let counts = time_waits(&others).unwrap_or_default();
        let held = others.iter().zip(counts).filter_map(|(netns, (_, count))| {
            let name = netns.called(host).unwrap_or_else(|| netns.inode.to_string());
            Some((printable(&name).into_owned(), count.ok().filter(|count| *count != 0)?))
        });
        Self::of(held.collect())
    }

    fn of(mut held: Vec<(String, u64)>) -> Self {
        held.order_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Self(held)
    }

    /// In one line; nothing where they hold nothing.
    pub fn line(&self) -> Option<String> {
        let (all, sockets) = (self.0.len(), self.0.iter().map(|(_, count)| count).sum());
        if all == 0 {
            return None;
        }
        let named = self.0.iter().take(NAMED).map(|(name, count)| format!("{name} {}", grouped(*count)));
        let more = if all > NAMED { ", …" } else { "" };
        let named = named.collect::<Vec<_>>().join(", ");
        let (verb, plural) = (if all == 1 { "holds" } else { "hold" }, if sockets == 1 { "" } else { "s" });
        Some(format!(
            "other namespaces: {} {verb} {} TIME_WAIT socket{plural} ({named}{more}); --all-netns lists them",
            grouped(all as u64),
            grouped(sockets)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(held: &[(&str, u64)]) -> Option<String> {
        Elsewhere::of(held.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()).line()
    }

    #[test]
    fn those_that_hold_most_are_named() {
        assert_eq!(line(&[]), None);
        let one = "other namespaces: 1 holds 1 TIME_WAIT socket (he1 1); --all-netns lists them";
        assert_eq!(line(&[("he1", 1)]).as_deref(), Some(one));
        let four = "other namespaces: 4 hold 1,215 TIME_WAIT sockets (he1 1,103, 4026532177 97, a 13, …); --all-netns lists them";
        let held = [("b", 2), ("a", 13), ("he1", 1103), ("4026532177", 97)];
        assert_eq!(line(&held).as_deref(), Some(four));
    }
}
