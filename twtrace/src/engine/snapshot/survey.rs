//! Owns: what is gathered in one look at all groups: how full each pool is, and who mainly deals with what.
//! Must not know: which rows are shown, their order.
//!
//! Tables lie beside the engine's and go by the numbers of rows: a look takes no look-up by name.

mod who;

use std::cell::OnceCell;
use std::collections::HashMap;

use super::{LinkRow, ProcessKey, Target, TupleKey, TupleRow};
use crate::engine::groups::{Group, NOWHERE, Table, earlier};
use crate::engine::history::{Flow, Windows};
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::read::{Figures, Indexes};
use crate::engine::{Engine, SECOND_NS, Tracker};
use crate::model::pool::{PoolUse, Pressure, TIME_WAIT_S, cmp_heats, levels_off};
use crate::model::ports::Ports;

/// What counts as the present when pressure is told, in seconds.
const RECENT_S: u32 = 10;
/// Who failed in so many seconds, the present one included, is failing, as far as anybody sees.
pub const FAILING_S: u32 = 60;
/// A pool that has less of its ports in use, and does not fill, is not worth a word.
const USED: f64 = 0.1;

/// What a process has to do with something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkSum {
    pub(super) live: u64,
    pub(super) created: u64,
    pub(super) failed: u64,
    pub(super) starved: u64,
    /// Failures within the last [`FAILING_S`].
    failing: u64,
    /// As [`Group::made_ns`].
    made_ns: Option<u64>,
}

impl LinkSum {
    fn weight(&self) -> (u64, u64, u64) {
        (self.live, self.created, self.failed)
    }
}

/// What a process deals with: numbers of links, [`NOWHERE`] for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dealings {
    main: u32,
    /// Where the pool is that is full or full soonest.
    hottest: u32,
    pub(super) targets: usize,
    pub(super) starved: u64,
}

impl Default for Dealings {
    fn default() -> Self {
        Self { main: NOWHERE, hottest: NOWHERE, targets: 0, starved: 0 }
    }
}

/// See the head of the file. Everything is by the number of a row.
#[derive(Debug)]
pub struct Survey<'a> {
    engine: &'a Engine,
    /// Which groups make which rows.
    pub(super) indexes: Indexes<'a>,
    now_ns: u64,
    /// The present second.
    pub(super) now: u32,
    links: Vec<LinkSum>,
    pressures: Vec<Option<Pressure>>,
    /// The pool that is full or full soonest.
    pub(super) hottest: Option<u32>,
    dealings: Vec<Dealings>,
    /// Of a pool, a port and a namespace: the link that matters most.
    mains: Vec<u32>,
    /// Pools and ports that have sockets whose owner nobody saw, and when the first of those was made.
    unowned: Vec<(u32, Option<u64>)>,
    /// Within the last [`FAILING_S`]: of a pool or a port calls that failed for want of one, of a namespace sockets that were refused.
    pub(super) failed: Vec<u64>,
    /// Links of pools and ports that a finding could be about, by those: worked out when first asked for.
    dealt_with: OnceCell<HashMap<u32, Vec<u32>, Hasher>>,
}

/// See [`Survey::may_press`].
pub(super) fn may_press(pressure: Option<Pressure>, failed: u64) -> bool {
    let is_used = |pressure: Pressure| pressure.full_in_s.is_some() || pressure.fraction() >= USED;
    failed != 0 || pressure.is_none_or(is_used)
}

pub(super) fn hotter(a: Pressure, b: Option<Pressure>) -> bool {
    b.is_none_or(|b| a.cmp_heat(&b).is_gt())
}

impl<'a> Survey<'a> {
    pub(super) fn of(tracker: &'a Tracker) -> Self {
        let engine = &tracker.engine;
        let rows = engine.groups.rows.len();
        let mut survey = Self {
            engine,
            indexes: Indexes::new(engine),
            now_ns: tracker.now_ns,
            now: tracker.second(tracker.now_ns),
            links: vec![LinkSum::default(); rows],
            pressures: vec![None; rows],
            hottest: None,
            dealings: vec![Dealings::default(); rows],
            mains: vec![NOWHERE; rows],
            unowned: Vec::new(),
            failed: vec![0; rows],
            dealt_with: OnceCell::new(),
        };
        survey.sum_links();
        survey.measure_pools();
        survey.weigh_links();
        survey
    }

    fn sum_links(&mut self) {
        for (_, group) in self.engine.all() {
            let failing = self.sum_failures(group);
            let Some(link) = group.row(Table::Link) else { continue };
            let sum = &mut self.links[link as usize];
            sum.live += u64::from(group.live);
            sum.made_ns = earlier(sum.made_ns, group.made_ns);
            sum.created += group.counts.created;
            sum.failed += group.failed();
            sum.starved += group.starved;
            sum.failing += failing;
        }
    }

    /// What failed of late, the present second included; returns how many calls for want of a port. A group knows of its last seconds how
    /// much failed in them, whatever it was.
    fn sum_failures(&mut self, group: &Group) -> u64 {
        let since_ns = self.now_ns.saturating_sub(u64::from(FAILING_S) * SECOND_NS);
        let fresh = |last_ns: u64, count| if last_ns >= since_ns { count } else { 0 };
        let calls = fresh(group.wanted_ns, group.wanted());
        let refused = fresh(group.refused_ns, group.counts.overflow);
        if calls + refused == 0 {
            return 0;
        }
        let mut windows = Windows::new(self.now.saturating_add(1), [FAILING_S]);
        windows.add(&group.history);
        let [failed] = windows.sums()[Flow::Failed as usize];
        let target = group.row(Table::Tuple).or(group.row(Table::Port));
        for (row, most) in [(target, calls), (group.row(Table::Netns), refused)] {
            row.into_iter().for_each(|row| self.failed[row as usize] += failed.min(most));
        }
        failed.min(calls)
    }

    fn measure_pools(&mut self) {
        let (index, mut pressures) = (self.indexes.of(Table::Tuple), std::mem::take(&mut self.pressures));
        let mut best: Option<((f64, f64), u32)> = None;
        for row in index.rows() {
            let Some(pressure) = self.measure(row, index.groups(row)) else { continue };
            pressures[row as usize] = Some(pressure);
            let heat = pressure.heat();
            let is_hotter = |(most, first): &((f64, f64), u32)| {
                let by_name = || self.target(*first).cmp(&self.target(row));
                cmp_heats(heat, *most).then_with(by_name).is_gt()
            };
            if pressure.in_use != 0 && best.as_ref().is_none_or(is_hotter) {
                best = Some((heat, row));
            }
        }
        self.hottest = best.map(|(_, row)| row);
        self.pressures = pressures;
    }

    /// Pools that no event was about, the fullest first.
    pub(super) fn silent(&self) -> Vec<TupleRow> {
        let is_part = !self.engine.part.of_owners.is_empty();
        let row = |(&(key, held), ports): (&(TupleKey, Ports), u32)| {
            let pool = PoolUse {
                time_wait: 0,
                others: held.open(),
                ports,
                created: 0.0,
                ended: 0.0,
                is_reused: false,
                is_part,
            };
            TupleRow {
                key,
                figures: Figures::default(),
                pressure: Some(Pressure::new(&pool)),
                others: Some(Box::new(held)),
                hidden: 0,
                main: None,
                shares: Vec::new(),
                wanted: 0,
            }
        };
        self.engine.pools.silent().map(row).collect()
    }

    /// Whether anything could be said of a pool: one that is not known, has some use of its ports, or in which calls fail.
    pub(super) fn may_press(&self, row: u32) -> bool {
        may_press(self.pressure(row), self.failed[row as usize])
    }

    /// How full a pool is; `None` where it is not known how many ports there are.
    fn measure(&self, row: u32, of: &[u32]) -> Option<Pressure> {
        let engine = self.engine;
        let known = engine.groups.rows.get(row as usize)?;
        let RowId::Tuple { netns, .. } = known.id else { return None };
        let (capacity, pool) = (engine.pools.told(netns)?, known.pool()?);
        let mut windows = Windows::new(self.now, [RECENT_S]);
        let history = |group: &'a Group| {
            if engine.reasons.is_empty() { Some(&group.history) } else { group.flow.as_deref() }
        };
        let histories = || of.iter().filter_map(|at| history(engine.group(*at)));
        // A rate that could not fill the pool is not worked out.
        let others = engine.pools.others(pool);
        let at_most = histories().map(|history| windows.at_most(history)).sum();
        let is_part = !engine.part.of_owners.is_empty();
        if !is_part && !levels_off(at_most, TIME_WAIT_S, others, capacity.ports()) {
            histories().for_each(|history| windows.add(history));
        }
        let flows = windows.rates().map(|[rate]| rate);
        let reused_ns = engine.pools.reused_ns(pool);
        let is_reused =
            reused_ns != 0 && self.now_ns.saturating_sub(reused_ns) < u64::from(RECENT_S) * SECOND_NS;
        Some(Pressure::new(&PoolUse {
            time_wait: engine.pools.now(pool) + engine.pools.hidden(pool),
            others,
            ports: capacity.ports(),
            created: flows[Flow::Created as usize],
            ended: flows[Flow::Ended as usize],
            is_reused,
            is_part,
        }))
    }

    fn weigh_links(&mut self) {
        let rows = &self.engine.groups.rows;
        let mut netns: HashMap<u32, u32, Hasher> = HashMap::default();
        for (at, row) in (0..).zip(rows) {
            if let RowId::Netns(inode) = row.id {
                netns.insert(inode, at);
            }
        }
        for (at, row) in (0..).zip(rows) {
            let RowId::Link { process, target } = row.id else { continue };
            let inode = match rows.get(target as usize).map(|row| row.id) {
                Some(RowId::Tuple { netns, .. } | RowId::Port { netns, .. }) => netns,
                _ => continue,
            };
            for of in [Some(target), netns.get(&inode).copied()].into_iter().flatten() {
                if self.wins(at, self.mains[of as usize]) {
                    self.mains[of as usize] = at;
                }
            }
            if self.engine.process_key(process).is_none_or(|key| key.is_unknown()) {
                self.unowned.push((target, self.links[at as usize].made_ns));
            }
            let mut dealings = self.dealings[process as usize];
            dealings.targets += 1;
            dealings.starved += self.links[at as usize].starved;
            if self.wins(at, dealings.main) {
                dealings.main = at;
            }
            let pressure = self.pressures[target as usize];
            if pressure.is_some_and(|pressure| hotter(pressure, self.pressure_of_link(dealings.hottest))) {
                dealings.hottest = at;
            }
            self.dealings[process as usize] = dealings;
        }
    }

    /// Whether a link matters more than another one; names make it certain.
    pub(super) fn wins(&self, link: u32, than: u32) -> bool {
        let Some(other) = self.links.get(than as usize) else { return true };
        let (mine, theirs) = (self.links[link as usize].weight(), other.weight());
        // Numbers tell most processes apart, and are at hand.
        let started = |link: u32| match self.engine.groups.rows[self.ends(link)?.0 as usize].id {
            RowId::Process { pid, start, .. } => Some((pid, start)),
            _ => None,
        };
        let by_name =
            || started(link).cmp(&started(than)).then_with(|| self.names(link).cmp(&self.names(than)));
        mine.cmp(&theirs).reverse().then_with(by_name).is_lt()
    }

    fn ends(&self, link: u32) -> Option<(u32, u32)> {
        match self.engine.groups.rows.get(link as usize)?.id {
            RowId::Link { process, target } => Some((process, target)),
            _ => None,
        }
    }

    fn names(&self, link: u32) -> Option<(Target, ProcessKey)> {
        let (process, target) = self.ends(link)?;
        Some((self.target(target)?, self.engine.process_key(process)?))
    }

    fn target(&self, row: u32) -> Option<Target> {
        self.engine.target(row)
    }

    fn pressure_of_link(&self, link: u32) -> Option<Pressure> {
        self.pressure(self.ends(link)?.1)
    }

    pub(super) fn dealings(&self, process: u32) -> Dealings {
        self.dealings.get(process as usize).copied().unwrap_or_default()
    }

    /// A link by its number.
    pub(super) fn link(&self, at: u32) -> Option<LinkRow> {
        self.link_row(at, self.links.get(at as usize)?)
    }

    pub(super) fn main_of(&self, dealings: &Dealings) -> Option<LinkRow> {
        self.link(dealings.main)
    }

    pub(super) fn hottest_of(&self, dealings: &Dealings) -> Option<LinkRow> {
        self.link(dealings.hottest)
    }

    /// Of the hottest pool that a process draws from.
    pub(super) fn pressure_of(&self, dealings: &Dealings) -> Option<Pressure> {
        self.pressure_of_link(dealings.hottest)
    }

    pub(super) fn pressure(&self, tuple: u32) -> Option<Pressure> {
        self.pressures.get(tuple as usize).copied().flatten()
    }

    /// The process that mainly deals with a pool, a port or a namespace.
    pub(super) fn holder(&self, row: u32) -> Option<ProcessKey> {
        let (process, _) = self.ends(*self.mains.get(row as usize)?)?;
        self.engine.process_key(process)
    }

    /// Who most likely owned the sockets of pools and ports whose owner nobody saw: who listens on the port, else the one process that was
    /// seen there. Whoever began after the first of them was made does not come into question; of a machine that was suspended since, more
    /// than that: a process has its start by CLOCK_BOOTTIME, which is ahead then.
    pub(super) fn inferences(&self) -> HashMap<Target, ProcessKey> {
        let unowned = self.unowned.iter().map(|(target, made_ns)| (*target, (*made_ns, Vec::new())));
        let mut seen: HashMap<u32, (Option<u64>, Vec<u32>), Hasher> = unowned.collect();
        for row in &self.engine.groups.rows {
            if let RowId::Link { process, target } = row.id
                && let Some((_, seen)) = seen.get_mut(&target)
                && self.engine.process_key(process).is_some_and(|key| !key.is_unknown())
            {
                seen.push(process);
            }
        }
        let inferred = |(row, (made_ns, seen)): (u32, (Option<u64>, Vec<u32>))| {
            let made_ns = made_ns?;
            let target = self.target(row)?;
            let listener = match target {
                Target::Port(key) => self.engine.listeners.get(&key).copied(),
                Target::Tuple(_) => None,
            };
            let only = || if let [only] = seen[..] { self.engine.process_key(only) } else { None };
            Some((target, listener.or_else(only).filter(|key| key.start_ns <= made_ns)?))
        };
        seen.into_iter().filter_map(inferred).collect()
    }

    /// A link, with what is counted of it.
    pub(super) fn link_row(&self, link: u32, sum: &LinkSum) -> Option<LinkRow> {
        let (process, target) = self.ends(link)?;
        Some(LinkRow {
            process: self.engine.process_key(process)?,
            gone: self.engine.groups.rows.get(process as usize).is_some_and(|row| row.gone),
            target: self.target(target)?,
            live: sum.live,
            created: sum.created,
            failed: sum.failed,
            starved: sum.starved,
            pressure: self.pressure(target),
        })
    }
}
