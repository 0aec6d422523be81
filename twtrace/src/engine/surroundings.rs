//! Owns: what a tracker is told besides events: what namespaces allow, which ports others hold, who is gone.
//! Must not know: how that is found out.

use std::collections::{HashMap, HashSet};

use super::counting::Engine;
use super::groups::{Group, Table, TableRow};
use super::key::RowId;
use super::{Capacity, Hasher, PortKey, ProcessKey, Target, Tracker, TupleKey};
use crate::model::event::Conn;
use crate::model::ordering::Ordered as _;
use crate::model::ports::Ports;

/// Pools of a namespace that are told though no event was about them, at most.
const SILENT: usize = 64;
/// Sockets that ended while a list was on its way, at most.
pub(super) const MOST_ENDS: usize = 1 << 18;

/// The network namespaces that were asked for, where some were: an inode is used again once its namespace is gone.
#[derive(Debug, Default)]
pub(super) struct ChosenNetns {
    /// What tells each of them from others, as far as that is known.
    cookies: HashMap<u32, u64>,
    /// Those that are gone.
    left: HashSet<u32>,
}

impl Tracker {
    /// Says which network namespaces are asked for and can be told from later ones: cookies by inodes.
    pub fn expect_netns(&mut self, cookies: HashMap<u32, u64>) {
        self.asked.cookies = cookies;
    }

    /// Those.
    pub fn expected_netns(&self) -> &HashMap<u32, u64> {
        &self.asked.cookies
    }

    /// Says that one of them is gone: what is found out of its inode is another one's.
    pub fn leave_netns(&mut self, netns: u32) {
        self.asked.left.insert(netns);
    }

    /// Whether the network namespace that has an inode now is not the one that was asked for.
    pub fn is_another(&self, netns: u32, cookie: Option<u64>) -> bool {
        let known = self.asked.cookies.get(&netns);
        self.asked.left.contains(&netns) || known.zip(cookie).is_some_and(|(one, other)| *one != other)
    }

    /// Says what a network namespace allows.
    pub fn set_capacity(&mut self, netns: u32, capacity: Capacity) {
        self.set_capacities([(netns, capacity)]);
    }

    /// As [`Tracker::set_capacity`] for many namespaces: the live sockets are gone through once.
    pub fn set_capacities(&mut self, told: impl IntoIterator<Item = (u32, Capacity)>) {
        let Self { engine: Engine { pools, groups, .. }, live, now_ns, .. } = self;
        let is_news = |(netns, capacity): &(u32, Capacity)| !pools.is_known(*netns, capacity);
        let news: HashMap<u32, Capacity> = told.into_iter().filter(is_news).collect();
        if news.is_empty() {
            return;
        }
        let held = live.iter().map(|(conn, entry)| (groups.pool_of(entry.group), conn.sport));
        pools.allow_late(&news, held, *now_ns);
    }

    /// Every network namespace that has a row, and what it allows where that was said.
    pub fn capacities(&self) -> impl Iterator<Item = (u32, Option<&Capacity>)> {
        self.engine.groups.rows.iter().filter_map(|row| match row.id {
            RowId::Netns(netns) => Some((netns, self.engine.pools.told(netns))),
            _ => None,
        })
    }

    /// Says how many ephemeral ports sockets hold in network namespaces, tuple by tuple, that are in other states than TIME_WAIT, or are
    /// in TIME_WAIT and left out of what is counted ([`Tracker::count_a_part`]). Tuples of a namespace that are not named hold none. Of those
    /// that no event was about, only what sockets in other states half fill is kept. However many namespaces there are, rows are gone
    /// through once.
    pub fn set_other_ports(&mut self, held: impl IntoIterator<Item = (u32, HashMap<TupleKey, Ports>)>) {
        let mut held: HashMap<u32, HashMap<TupleKey, Ports>> = held.into_iter().collect();
        let told: Vec<(u32, Ports)> = (0..)
            .zip(&self.engine.groups.rows)
            .filter_map(|(at, row)| {
                let RowId::Tuple { netns, .. } = row.id else { return None };
                let held = held.get_mut(&netns)?;
                let Some(Target::Tuple(key)) = self.engine.target(at) else { return None };
                Some((row.pool()?, held.remove(&key).unwrap_or_default()))
            })
            .collect();
        let pools = &mut self.engine.pools;
        told.into_iter().for_each(|(at, others)| pools.set_others(at, others));
        for (netns, held) in held {
            let enough = pools.told(netns).map_or(u32::MAX, |capacity| capacity.ports().div_ceil(2).max(1));
            let mut silent: Vec<_> = held.into_iter().filter(|(_, held)| held.open() >= enough).collect();
            silent.order_by_key(|(key, held)| (std::cmp::Reverse(held.open()), *key));
            silent.truncate(SILENT);
            pools.set_silent(netns, silent);
        }
    }

    /// Remembers from now on which sockets end.
    pub fn note_ends(&mut self) {
        self.ends = Some(HashSet::default());
    }

    /// The connections whose sockets ended since [`Tracker::note_ends`], and whether these are all; they are remembered no more.
    pub fn take_ends(&mut self) -> (HashSet<Conn, Hasher>, bool) {
        let ends = self.ends.take().unwrap_or_default();
        let are_all = ends.len() < MOST_ENDS;
        (ends, are_all)
    }

    /// Whether TIME_WAIT sockets live on served ports of which nobody knows who owned them.
    pub fn wants_listeners(&self) -> bool {
        let is_wanted = |group: &Group| {
            let is_port = group.row(Table::Port).is_some();
            group.live != 0 && group.key.owner.is_none() && is_port
        };
        self.engine.all().any(|(_, group)| is_wanted(group))
    }

    /// Says who listens on the ports of the machine, as far as that is known: sockets of which nobody was seen to own them are most
    /// likely theirs.
    pub fn set_listeners(&mut self, listeners: HashMap<PortKey, ProcessKey>) {
        self.engine.listeners = listeners;
    }

    /// The processes that are not known to be gone: pid and start time.
    pub fn present(&self) -> HashSet<(u32, u64)> {
        self.engine.groups.rows.iter().filter(|row| !row.gone).filter_map(process).collect()
    }

    /// Says which processes are gone, by pid and start time. Their rows stay while they have live sockets, and for a minute after their
    /// last event.
    pub fn mark_gone(&mut self, gone: &HashSet<(u32, u64)>) {
        for row in &mut self.engine.groups.rows {
            row.gone |= process(row).is_some_and(|process| gone.contains(&process));
        }
    }
}

/// Pid and start time, if it is the row of a process that is known.
fn process(row: &TableRow) -> Option<(u32, u64)> {
    match row.id {
        RowId::Process { pid, start, .. } => {
            (row.table == Table::Process && pid != 0).then_some((pid, start))
        }
        _ => None,
    }
}
