//! Owns: how many ephemeral ports TIME_WAIT sockets hold on each tuple, now and at the worst, and, where that is asked for, how full the
//! fullest is at any moment.
//! Must not know: events.

mod fullest;

use std::collections::HashMap;

use fullest::Fullest;

use super::intern::Hasher;
use super::keys::TupleKey;
use crate::model::ports::Ports;
use crate::model::settings::Settings;

/// `ip_local_port_range` of a kernel that nobody has told otherwise (inet_init_net(), net/ipv4/af_inet.c, 5.10 to
/// 7.3).
const DEFAULT_RANGE: (u16, u16) = (32_768, 60_999);

/// A network namespace, as the engine is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// What people call the namespace: its name in /run/netns, `host` for the machine's own. Hostile until escaped.
    pub name: Option<String>,
    /// What it allows; its ports are counted.
    pub settings: Settings,
}

impl Capacity {
    /// Ports that connect() can choose from.
    #[inline]
    pub fn ports(&self) -> u32 {
        self.settings.ports.unwrap_or(0)
    }
}

/// The most that one tuple held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Most {
    pub(crate) ports: u32,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub(crate) at_ns: u64,
}

/// One tuple.
#[derive(Clone, Debug, Default)]
struct Tuple {
    now: u32,
    most: Most,
    /// Index of its namespace.
    netns: u32,
    /// Ephemeral ports in use by sockets in other states; most pools have none.
    others: Option<Box<Ports>>,
    /// Ephemeral ports in use by TIME_WAIT sockets that a filter keeps from being counted.
    hidden: u32,
    /// When connect() last took the port of one of its TIME_WAIT sockets, CLOCK_MONOTONIC in nanoseconds; 0 for never.
    reused_ns: u64,
}

/// One network namespace.
#[derive(Debug)]
struct Netns {
    /// Which ports count. A guess until somebody says what the namespace allows.
    capacity: Capacity,
    is_told: bool,
    /// How many tuples hold so many ports; of none it does not matter.
    holding: Vec<u32>,
    /// The most that any holds now.
    top: u32,
    /// Pools that no event was about, at least half full of sockets that are not in TIME_WAIT.
    silent: Vec<(TupleKey, Ports)>,
}

/// Every tuple of every namespace.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    tuples: Vec<Tuple>,
    netns: Vec<Netns>,
    index: HashMap<u32, usize, Hasher>,
    /// `None` where nobody asks for it.
    fullest: Option<Fullest>,
}

impl Pools {
    /// From now on, [`Pools::pressure`] is known. To be said before the first socket.
    pub(crate) fn follow_fullest(&mut self) {
        self.fullest.get_or_insert_default();
    }

    /// Says what a namespace allows. To be said before its first socket: what was counted by another range stays.
    pub(crate) fn allow(&mut self, inode: u32, capacity: Capacity) {
        let at = self.index_of(inode);
        if let Some(netns) = self.netns.get_mut(at) {
            (netns.capacity, netns.is_told) = (capacity, true);
            let pressure = netns.pressure(netns.top);
            self.fullest.iter_mut().for_each(|fullest| fullest.set(at, pressure));
        }
    }

    /// As [`Pools::allow`], where sockets live already: `held` are the tuples and ports of all that do. What is not a change is none.
    pub(crate) fn allow_late(
        &mut self,
        told: &HashMap<u32, Capacity>,
        held: impl Iterator<Item = (u32, u16)>,
        now_ns: u64,
    ) {
        let changed: Vec<usize> = told.keys().map(|inode| self.index_of(*inode)).collect();
        let mut is_changed = vec![false; self.netns.len()];
        changed.into_iter().for_each(|at| is_changed[at] = true);
        for tuple in self.tuples.iter_mut().filter(|tuple| is_changed[tuple.netns as usize]) {
            tuple.now = 0;
        }
        for (inode, capacity) in told {
            let at = self.index_of(*inode);
            (self.netns[at].holding, self.netns[at].top) = (Vec::new(), 0);
            self.allow(*inode, capacity.clone());
        }
        for (pool, port) in held {
            if self.tuples.get(pool as usize).is_some_and(|tuple| is_changed[tuple.netns as usize]) {
                self.take(pool, port, now_ns);
            }
        }
    }

    /// Whether somebody said that a namespace allows just this.
    pub(crate) fn is_known(&self, inode: u32, capacity: &Capacity) -> bool {
        self.told(inode) == Some(capacity)
    }

    /// What a namespace allows, where somebody said so.
    pub(crate) fn told(&self, inode: u32) -> Option<&Capacity> {
        self.capacity(inode).filter(|(_, is_told)| *is_told).map(|(capacity, _)| capacity)
    }

    /// Says how many ports of a tuple sockets in other states hold, and TIME_WAIT sockets that are not counted.
    pub(crate) fn set_others(&mut self, pool: u32, others: Ports) {
        if let Some(tuple) = self.tuples.get_mut(pool as usize) {
            tuple.hidden = others.time_wait + others.fin_wait2;
            let others = Ports { time_wait: 0, fin_wait2: 0, ..others };
            tuple.others = (others.all() != 0).then(|| Box::new(others));
        }
    }

    /// Ports of a tuple that TIME_WAIT sockets hold which a filter keeps from being counted.
    pub(crate) fn hidden(&self, pool: u32) -> u32 {
        self.tuples.get(pool as usize).map_or(0, |tuple| tuple.hidden)
    }

    /// Ports of a tuple that sockets in other states hold.
    pub(crate) fn others(&self, pool: u32) -> u32 {
        self.tuples
            .get(pool as usize)
            .map_or(0, |tuple| tuple.others.as_ref().map_or(0, |others| others.all()))
    }

    /// Those by their states, where there are any.
    pub(crate) fn others_by_state(&self, pool: u32) -> Option<Box<Ports>> {
        self.tuples.get(pool as usize)?.others.clone()
    }

    /// What holds ports of a tuple. Both states of TIME_WAIT sockets are counted as one: an event tells them apart, a pool does not.
    pub(crate) fn held(&self, pool: u32) -> Ports {
        let Some(tuple) = self.tuples.get(pool as usize) else { return Ports::default() };
        let others = tuple.others.as_deref().copied().unwrap_or_default();
        Ports { time_wait: tuple.now + tuple.hidden, ..others }
    }

    /// Says which pools of a namespace that no event was about are at least half full.
    pub(crate) fn set_silent(&mut self, inode: u32, pools: Vec<(TupleKey, Ports)>) {
        let at = self.index_of(inode);
        if let Some(netns) = self.netns.get_mut(at) {
            netns.silent = pools;
        }
    }

    /// Pools that no event was about and that are at least half full, with how many ports each has.
    pub(crate) fn silent(&self) -> impl Iterator<Item = (&(TupleKey, Ports), u32)> {
        let told = self.netns.iter().filter(|netns| netns.is_told);
        told.flat_map(|netns| netns.silent.iter().map(|pool| (pool, netns.capacity.ports())))
    }

    /// connect() took the port of one of a tuple's TIME_WAIT sockets.
    pub(crate) fn reuse(&mut self, pool: u32, now_ns: u64) {
        if let Some(tuple) = self.tuples.get_mut(pool as usize) {
            tuple.reused_ns = now_ns;
        }
    }

    /// When that last happened, CLOCK_MONOTONIC in nanoseconds; 0 for never.
    pub(crate) fn reused_ns(&self, pool: u32) -> u64 {
        self.tuples.get(pool as usize).map_or(0, |tuple| tuple.reused_ns)
    }

    /// Whether TIME_WAIT sockets hold at least half of a tuple's ports, as far as it is known how many there are.
    pub(crate) fn is_half_full(&self, pool: u32) -> bool {
        let Some(tuple) = self.tuples.get(pool as usize) else { return false };
        let Some(netns) = self.netns.get(tuple.netns as usize) else { return false };
        netns.is_told && tuple.now + tuple.hidden >= netns.capacity.ports().div_ceil(2)
    }

    /// Goes on with what is known of a tuple under its number in another set, but for what it holds now.
    pub(crate) fn inherit(&mut self, pool: u32, from: &Self, theirs: u32) {
        let Some(known) = from.tuples.get(theirs as usize) else { return };
        if let Some(mine) = self.tuples.get_mut(pool as usize) {
            (mine.most, mine.others, mine.reused_ns) = (known.most, known.others.clone(), known.reused_ns);
            mine.hidden = known.hidden;
        }
    }

    /// The namespaces alone.
    pub(crate) fn without_tuples(&self) -> Self {
        let mut pools =
            Self { fullest: self.fullest.as_ref().map(|_| Fullest::default()), ..Self::default() };
        for (inode, at) in &self.index {
            if let Some(netns) = self.netns.get(*at).filter(|netns| netns.is_told) {
                pools.allow(*inode, netns.capacity.clone());
            }
        }
        pools
    }

    /// What a namespace was counted by, and whether anybody said so.
    pub(crate) fn capacity(&self, inode: u32) -> Option<(&Capacity, bool)> {
        let netns = self.netns.get(*self.index.get(&inode)?)?;
        Some((&netns.capacity, netns.is_told))
    }

    fn index_of(&mut self, inode: u32) -> usize {
        if let Some(at) = self.index.get(&inode) {
            return *at;
        }
        let (low, high) = DEFAULT_RANGE;
        let capacity = Capacity { name: None, settings: Settings::of_range(low, high) };
        let at = self.netns.len();
        self.netns.push(Netns { capacity, is_told: false, holding: Vec::new(), top: 0, silent: Vec::new() });
        self.index.insert(inode, at);
        at
    }

    /// A new tuple; returns its number.
    pub(crate) fn add(&mut self, inode: u32) -> u32 {
        let netns = self.index_of(inode) as u32;
        self.tuples.push(Tuple { netns, ..Tuple::default() });
        self.tuples.len() as u32 - 1
    }

    /// What a tuple's TIME_WAIT sockets hold.
    pub(crate) fn now(&self, pool: u32) -> u32 {
        self.tuples.get(pool as usize).map_or(0, |tuple| tuple.now)
    }

    /// The most that a tuple held.
    pub(crate) fn most(&self, pool: u32) -> Most {
        self.tuples.get(pool as usize).map_or_else(Most::default, |tuple| tuple.most)
    }

    /// A socket holds this port from now on. Returns the pressure of the tuple, if the port is one that connect() chooses from.
    pub(crate) fn take(&mut self, pool: u32, port: u16, now_ns: u64) -> Option<f32> {
        let tuple = self.tuples.get_mut(pool as usize)?;
        let netns = self.netns.get_mut(tuple.netns as usize)?;
        if !netns.capacity.settings.has(port) {
            return None;
        }
        if let Some(fullest) = &mut self.fullest {
            netns.step(tuple.now, tuple.now + 1);
            fullest.set(tuple.netns as usize, netns.pressure(netns.top));
        }
        tuple.now += 1;
        if tuple.now > tuple.most.ports {
            tuple.most = Most { ports: tuple.now, at_ns: now_ns };
        }
        Some(netns.pressure(tuple.now))
    }

    /// A socket holds this port no longer.
    pub(crate) fn give(&mut self, pool: u32, port: u16) {
        let Some(tuple) = self.tuples.get_mut(pool as usize) else { return };
        let Some(netns) = self.netns.get_mut(tuple.netns as usize) else { return };
        if netns.capacity.settings.has(port) && tuple.now > 0 {
            if let Some(fullest) = &mut self.fullest {
                netns.step(tuple.now, tuple.now - 1);
                fullest.set(tuple.netns as usize, netns.pressure(netns.top));
            }
            tuple.now -= 1;
        }
    }

    /// No socket holds a port any more.
    pub(crate) fn let_go(&mut self) {
        self.tuples.iter_mut().for_each(|tuple| tuple.now = 0);
        for (at, netns) in self.netns.iter_mut().enumerate() {
            (netns.holding, netns.top) = (Vec::new(), 0);
            self.fullest.iter_mut().for_each(|fullest| fullest.set(at, 0.0));
        }
    }

    /// The pressure of the fullest tuple now, where it is followed.
    pub(crate) fn pressure(&self) -> f32 {
        self.fullest.as_ref().map_or(0.0, Fullest::most)
    }
}

impl Netns {
    /// A tuple goes from so many ports to one more or one less.
    fn step(&mut self, from: u32, to: u32) {
        let (from, to) = (from as usize, to as usize);
        if self.holding.len() <= from.max(to) {
            self.holding.resize(from.max(to) + 1, 0);
        }
        self.holding[from] = self.holding[from].saturating_sub(1);
        self.holding[to] += 1;
        let was_alone_on_top = from == self.top as usize && self.holding[from] == 0;
        if to > self.top as usize || was_alone_on_top {
            self.top = to as u32;
        }
    }

    fn pressure(&self, held: u32) -> f32 {
        if held == 0 { 0.0 } else { held as f32 / self.capacity.ports().max(1) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten_ports() -> Capacity {
        let settings = Settings { reserved: vec![(105, 105)], ..Settings::of_range(100, 110) };
        Capacity { name: None, settings: settings.counted().unwrap() }
    }

    #[test]
    fn the_fullest_tuple_is_known_at_any_moment() {
        let mut pools = Pools::default();
        pools.follow_fullest();
        pools.allow(7, ten_ports());
        let (one, two) = (pools.add(7), pools.add(7));
        let mut held = [0_u32; 2];
        let mut steps = [0_u32; 3];
        // A walk that goes up and down through every level, by a fixed rule.
        for n in 0..997_u64 {
            let (at, tuple) = if n * n % 7 < 3 { (0, one) } else { (1, two) };
            if n % 13 < 7 && held[at] < 10 {
                let pressure = pools.take(tuple, 100, n).unwrap();
                held[at] += 1;
                steps[0] += 1;
                assert_eq!(pressure, held[at] as f32 / 10.0);
            } else {
                pools.give(tuple, 100);
                steps[1] += 1;
                held[at] = held[at].saturating_sub(1);
            }
            assert_eq!(pools.pressure(), held[0].max(held[1]) as f32 / 10.0, "step {n}: {held:?}");
            steps[2] = steps[2].max(held[0].max(held[1]));
        }
        assert!(steps.iter().all(|count| *count > 5), "the walk went nowhere: {steps:?}");
        assert_eq!(pools.most(one).ports.max(pools.most(two).ports), steps[2]);
    }

    #[test]
    fn the_fullest_of_many_namespaces_is_known_at_any_moment() {
        let mut pools = Pools::default();
        pools.follow_fullest();
        let mut held = Vec::new();
        for n in 0..5003_u64 {
            let at = (n * n % 101) as usize;
            while held.len() <= at {
                let inode = 1000 + held.len() as u32;
                pools.allow(inode, ten_ports());
                held.push((pools.add(inode), 0_u32));
            }
            let (tuple, count) = &mut held[at];
            if n % 7 < 4 && *count < 10 {
                pools.take(*tuple, 100, n);
                *count += 1;
            } else {
                pools.give(*tuple, 100);
                *count = count.saturating_sub(1);
            }
            let most = held.iter().map(|(_, count)| *count).max().unwrap();
            assert_eq!(pools.pressure(), most as f32 / 10.0, "step {n}");
        }
    }

    #[test]
    fn only_ports_that_connect_chooses_count() {
        let mut pools = Pools::default();
        pools.follow_fullest();
        pools.allow(7, ten_ports());
        let tuple = pools.add(7);
        assert_eq!([99, 105, 111].map(|port| pools.take(tuple, port, 1)), [None; 3]);
        pools.take(tuple, 110, 3);
        pools.give(tuple, 105);
        assert_eq!((pools.pressure(), pools.most(tuple)), (0.1, Most { ports: 1, at_ns: 3 }));
        assert_eq!(pools.capacity(7), Some((&ten_ports(), true)));
        assert_eq!(pools.capacity(8), None);
    }
}
