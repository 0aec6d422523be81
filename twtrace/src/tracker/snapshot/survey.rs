//! Owns: what is gathered in one look at all pools and one at all links: how full each pool is, and who mainly deals with what.
//! Must not know: rows, which of them are shown, their order.
//!
//! Tables lie beside the tracker's and go by slot: a look at 16,384 rows of a kind takes no look-up by key.

use super::{By, LinkRow};
use crate::tracker::arena::Place;
use crate::tracker::history::Flow;
use crate::tracker::keys::{ProcessKey, Target, TupleKey};
use crate::tracker::pressure::{Capacity, Pool, Pressure};
use crate::tracker::rows::{Link, LinkKey, TupleStats};
use crate::tracker::{SECOND_NS, Tracker};

/// What counts as the present when pressure is told, in seconds.
const RECENT_S: u32 = 10;

/// A link by what it weighs.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    /// Live, created, failed.
    weight: (u64, u64, u64),
    place: Place,
}

/// What a process deals with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dealings {
    main: Candidate,
    pub(super) targets: usize,
    pub(super) starved: u64,
    /// The pool that is full or full soonest.
    pub(super) pressure: Option<Pressure>,
}

/// See the head of the file.
pub(super) struct Survey<'a> {
    world: &'a Tracker,
    /// The present second.
    pub(super) now: u32,
    pressures: Vec<Option<Pressure>>,
    /// The pool that is full or full soonest.
    pub(super) hottest: Option<Place>,
    processes: Vec<Dealings>,
    tuples: Vec<Candidate>,
    ports: Vec<Candidate>,
    netns: Vec<Candidate>,
    /// Who mainly deals with that pool.
    hottest_main: Candidate,
}

pub(super) fn hotter(a: Pressure, b: Option<Pressure>) -> bool {
    b.is_none_or(|b| a.cmp_heat(&b).is_gt())
}

impl<'a> Survey<'a> {
    /// Looks at the world, as far as the tables in `wanted` need it.
    pub(super) fn of(world: &'a Tracker, wanted: &[By]) -> Self {
        let rows = &world.rows;
        let size = |by: By, slots: usize| if wanted.contains(&by) { slots } else { 0 };
        let mut survey = Self {
            world,
            now: world.second(world.now_ns),
            pressures: Vec::new(),
            hottest: None,
            processes: vec![Dealings::default(); size(By::Process, rows.processes.slots())],
            tuples: vec![Candidate::default(); size(By::Tuple, rows.tuples.slots())],
            ports: vec![Candidate::default(); size(By::Port, rows.ports.slots())],
            netns: vec![Candidate::default(); size(By::Netns, rows.netns.slots())],
            hottest_main: Candidate::default(),
        };
        survey.measure_pools();
        survey.weigh_links();
        survey
    }

    fn measure_pools(&mut self) {
        let rows = &self.world.rows;
        self.pressures = vec![None; rows.tuples.slots()];
        // Mostly, many in a row have the same.
        let mut known: (u32, Option<&Capacity>) = (0, None);
        let mut best: Option<(Pressure, TupleKey, Place)> = None;
        for (place, key, row) in rows.tuples.places() {
            if known.0 != key.netns {
                known = (key.netns, self.world.capacity(key.netns));
            }
            let Some(capacity) = known.1 else { continue };
            let pressure = self.world.pressure(row, capacity.ports, self.now);
            self.pressures[place.slot()] = Some(pressure);
            let is_hotter = |(most, first, _): &(Pressure, TupleKey, Place)| {
                pressure.cmp_heat(most).then_with(|| first.cmp(key)).is_gt()
            };
            if pressure.in_use != 0 && best.as_ref().is_none_or(is_hotter) {
                best = Some((pressure, *key, place));
            }
        }
        self.hottest = best.map(|(.., place)| place);
    }

    fn weigh_links(&mut self) {
        let world = self.world;
        let links = &world.rows.links;
        let hottest = self.hottest.map(Place::slot);
        for (place, key, link) in links.places() {
            let candidate = Candidate { weight: (u64::from(link.live), link.created, link.failed), place };
            let (tuple, port) = match &key.target {
                Target::Tuple(target) => (world.tuple_slot(link, target), None),
                Target::Port(target) if self.ports.is_empty() => (None, None),
                Target::Port(target) => (None, world.rows.ports.current(link.port, target).map(Place::slot)),
            };
            if tuple.is_some() && tuple == hottest {
                candidate.challenge(&mut self.hottest_main, world);
            }
            for (table, slot) in [(&mut self.tuples, tuple), (&mut self.ports, port)] {
                if let Some(main) = slot.and_then(|slot| table.get_mut(slot)) {
                    candidate.challenge(main, world);
                }
            }
            if !self.netns.is_empty()
                && let Some(netns) = world.rows.netns.current(link.netns, &key.netns())
            {
                candidate.challenge(&mut self.netns[netns.slot()], world);
            }
            if !self.processes.is_empty()
                && let Some(process) = world.rows.processes.current(link.process, &key.process)
            {
                let dealings = &mut self.processes[process.slot()];
                dealings.targets += 1;
                dealings.starved += link.starved;
                candidate.challenge(&mut dealings.main, world);
                let pressure = tuple.and_then(|slot| self.pressures[slot]);
                if let Some(pressure) = pressure.filter(|pressure| hotter(*pressure, dealings.pressure)) {
                    dealings.pressure = Some(pressure);
                }
            }
        }
    }

    pub(super) fn dealings(&self, process: Place) -> Dealings {
        self.processes.get(process.slot()).copied().unwrap_or_default()
    }

    pub(super) fn main_of(&self, dealings: &Dealings) -> Option<LinkRow> {
        let (key, link) = self.world.rows.links.get(dealings.main.place)?;
        Some(self.link_row(key, link))
    }

    pub(super) fn pressure(&self, tuple: Place) -> Option<Pressure> {
        self.pressures.get(tuple.slot()).copied().flatten()
    }

    fn process(&self, candidate: Option<&Candidate>) -> Option<ProcessKey> {
        let place = candidate?.place;
        self.world.rows.links.get(place).map(|(key, _)| key.process)
    }

    pub(super) fn holder_of_tuple(&self, tuple: Place) -> Option<ProcessKey> {
        let is_hottest = self.tuples.is_empty() && self.hottest == Some(tuple);
        self.process(if is_hottest { Some(&self.hottest_main) } else { self.tuples.get(tuple.slot()) })
    }

    pub(super) fn holder_of_port(&self, port: Place) -> Option<ProcessKey> {
        self.process(self.ports.get(port.slot()))
    }

    pub(super) fn holder_in_netns(&self, netns: Place) -> Option<ProcessKey> {
        self.process(self.netns.get(netns.slot()))
    }

    pub(super) fn link_row(&self, key: &LinkKey, link: &Link) -> LinkRow {
        let pressure = match &key.target {
            Target::Tuple(target) => {
                self.world.tuple_slot(link, target).and_then(|slot| self.pressures[slot])
            }
            Target::Port(_) => None,
        };
        let process = self.world.rows.processes.find(&key.process);
        LinkRow {
            process: key.process,
            name: process.map(|row| row.name).unwrap_or_default(),
            gone: process.is_some_and(|row| row.gone),
            target: key.target,
            live: u64::from(link.live),
            created: link.created,
            failed: link.failed,
            starved: link.starved,
            pressure,
        }
    }
}

impl Candidate {
    /// Takes the place of `main` if it matters more; the key makes it certain.
    fn challenge(self, main: &mut Self, world: &Tracker) {
        let wins = main.place == Place::NONE
            || self.weight > main.weight
            || self.weight == main.weight && {
                let key = |place| world.rows.links.get(place).map(|(key, _)| (key.target, key.process));
                key(self.place) < key(main.place)
            };
        if wins {
            *main = self;
        }
    }
}

impl Tracker {
    fn capacity(&self, netns: u32) -> Option<&Capacity> {
        self.rows.netns.find(&netns)?.capacity.as_ref()
    }

    /// A link without live sockets may outlive its rows.
    fn tuple_slot(&self, link: &Link, key: &TupleKey) -> Option<usize> {
        self.rows.tuples.current(link.tuple, key).map(Place::slot)
    }

    /// How full a pool is that may have so many `ports`.
    fn pressure(&self, row: &TupleStats, ports: u32, now: u32) -> Pressure {
        let history = row.flow.as_deref().unwrap_or(&row.stats.history);
        let flows = history.flows(now, RECENT_S);
        let reused_ns = row.reused_ns.map_or(u64::MAX, |reused_ns| self.now_ns.saturating_sub(reused_ns));
        Pressure::new(&Pool {
            time_wait: row.ephemeral,
            others: row.others,
            ports,
            created: flows[Flow::Created as usize],
            ended: flows[Flow::Ended as usize],
            is_reused: reused_ns < u64::from(RECENT_S) * SECOND_NS,
        })
    }
}
