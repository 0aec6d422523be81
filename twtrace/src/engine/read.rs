//! Owns: what groups come to: which of them make a row, and a row's figures.
//! Must not know: in which order rows are shown, and how.

use std::cell::OnceCell;

use super::counting::Engine;
use super::counts::{Counts, Otherwise};
use super::groups::{Group, Table};
use super::history::{Rates, Windows};
use super::spread::{Percentiles, Spread, percentiles_of};
use crate::model::event::{Role, Via};
use crate::model::ports::Ports;

/// What every row has. Rates are events a second; a recording has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// What came and went. What was lost is in the total only.
    pub counts: Counts,
    /// Of the calls that failed, those that did for another reason than ports.
    pub otherwise: Otherwise,
    /// When one last failed for want of a port, CLOCK_MONOTONIC in nanoseconds; 0 for never.
    pub wanted_ns: u64,
    /// What held ports of its pool then.
    pub wanted_held: Ports,
    /// TIME_WAIT sockets that live.
    pub live: u64,
    /// The most that lived at one time.
    pub peak_live: u64,
    /// Created where this end connected.
    pub client: u64,
    /// Created where this end was connected to.
    pub server: u64,
    /// Created as orphans that wait for their peer's FIN.
    pub fin_wait2: u64,
    /// Created, by how the owner is known, in the order of `Via::ALL`.
    pub via: [u64; Via::ALL.len()],
    /// TIME_WAIT sockets made.
    pub created_rate: Rates,
    /// TIME_WAIT sockets gone.
    pub ended_rate: Rates,
    /// Overflows, and failures of connect() and bind().
    pub failed_rate: Rates,
    /// Share of connections that lived under 5 ms; only where percentiles are worked out as well.
    pub under_5ms: Option<f64>,
    /// How long connections lived, in microseconds.
    pub age_us: Option<Percentiles>,
    /// How long TIME_WAIT sockets lived, in milliseconds.
    pub lifetime_ms: Option<Percentiles>,
    /// Payload sent a connection, in bytes.
    pub sent: Option<Percentiles>,
    /// Payload received a connection, in bytes.
    pub received: Option<Percentiles>,
    /// CLOCK_MONOTONIC at the first event in nanoseconds, 0 before it.
    pub first_ns: u64,
    /// CLOCK_MONOTONIC at the last event in nanoseconds, 0 before it.
    pub last_ns: u64,
}

impl Figures {
    /// Overflows, and failures of connect() and bind().
    pub fn failed(&self) -> u64 {
        self.counts.overflow + self.counts.connect_failed + self.counts.bind_failed
    }

    fn set_rates(&mut self, rates: [Rates; 3]) {
        [self.created_rate, self.ended_rate, self.failed_rate] = rates;
    }

    fn add(&mut self, group: &Group) {
        self.counts.take_over(&group.counts);
        self.otherwise.take_over(&group.otherwise);
        self.want(group.wanted_ns, group.wanted_held.as_deref().copied().unwrap_or_default());
        self.client += group.created_as(Role::Client);
        self.server += group.created_as(Role::Server);
        self.fin_wait2 += group.fin_wait2;
        self.via.iter_mut().zip(group.via).for_each(|(sum, part)| *sum += part);
        self.see((group.first_ns, group.last_ns));
    }

    /// Adds all that can be added up: not rates, nor percentiles. The most that lived at one time is that of one of them.
    pub fn take_over(&mut self, other: &Self) {
        self.counts.take_over(&other.counts);
        self.otherwise.take_over(&other.otherwise);
        self.want(other.wanted_ns, other.wanted_held);
        self.live += other.live;
        self.peak_live = self.peak_live.max(other.peak_live);
        self.client += other.client;
        self.server += other.server;
        self.fin_wait2 += other.fin_wait2;
        self.via.iter_mut().zip(other.via).for_each(|(sum, part)| *sum += part);
        self.see((other.first_ns, other.last_ns));
    }

    /// A call failed at a moment when this held ports; 0 is no moment.
    fn want(&mut self, wanted_ns: u64, held: Ports) {
        if wanted_ns > self.wanted_ns {
            (self.wanted_ns, self.wanted_held) = (wanted_ns, held);
        }
    }

    /// Something was seen from a first to a last moment; 0 is no moment.
    fn see(&mut self, (first_ns, last_ns): (u64, u64)) {
        if first_ns != 0 && (self.first_ns == 0 || first_ns < self.first_ns) {
            self.first_ns = first_ns;
        }
        self.last_ns = self.last_ns.max(last_ns);
    }
}

/// How much of a row's figures is worked out: each has what those before it have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Depth {
    /// No rates, but for those of rows that calls failed in.
    Counts,
    /// No percentiles.
    Rates,
    Whole,
}

/// The groups of each row of a table.
#[derive(Debug)]
pub(crate) struct Index {
    /// Where those of each row begin; of the row after the last, where they end.
    starts: Vec<u32>,
    groups: Vec<u32>,
}

impl Index {
    pub(crate) fn of(engine: &Engine, table: Table) -> Self {
        let mut starts = vec![0_u32; engine.groups.rows.len() + 1];
        for (_, group) in engine.all() {
            if let Some(row) = group.row(table) {
                starts[row as usize + 1] += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let (mut groups, mut next) = (vec![0; sum as usize], starts.clone());
        for (at, group) in engine.all() {
            if let Some(row) = group.row(table) {
                groups[next[row as usize] as usize] = at;
                next[row as usize] += 1;
            }
        }
        Self { starts, groups }
    }

    /// Numbers of the groups of a row.
    pub(crate) fn groups(&self, row: u32) -> &[u32] {
        let at = row as usize;
        match self.starts.get(at..at + 2) {
            Some(&[from, to]) => &self.groups[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Rows that have any.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        let has = |pair: &[u32]| pair[0] != pair[1];
        (0..).zip(self.starts.windows(2)).filter(move |(_, pair)| has(pair)).map(|(row, _)| row)
    }
}

/// Indexes of one moment, each made when it is first asked for. The engine must not change meanwhile.
#[derive(Debug)]
pub(crate) struct Indexes<'a> {
    engine: &'a Engine,
    of: [OnceCell<Index>; Table::ALL.len()],
}

impl<'a> Indexes<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self { engine, of: Default::default() }
    }

    pub(crate) fn of(&self, table: Table) -> &Index {
        self.of[table as usize].get_or_init(|| Index::of(self.engine, table))
    }
}

impl Engine {
    pub(crate) fn group(&self, at: u32) -> &Group {
        &self.groups.all[at as usize]
    }

    /// What some groups come to at the beginning of second `now`; how many live is another matter.
    pub(crate) fn figures(&self, of: &[u32], now: u32) -> Figures {
        let groups = of.iter().map(|at| self.group(*at));
        let percentiles = |pick: fn(&Group) -> &Spread| percentiles_of(groups.clone().map(pick));
        let (mut under_5ms, mut ages) = (0, 0);
        for group in groups.clone() {
            under_5ms += group.under_5ms;
            ages += group.age_us.len();
        }
        Figures {
            under_5ms: (ages != 0).then(|| under_5ms as f64 / ages as f64),
            age_us: percentiles(|group| &group.age_us),
            lifetime_ms: percentiles(|group| &group.lifetime_ms),
            sent: percentiles(|group| &group.sent),
            received: percentiles(|group| &group.received),
            ..self.counted(of, now)
        }
    }

    /// As [`Engine::figures`], without percentiles and shares of connections, which take most of the time.
    pub(crate) fn counted(&self, of: &[u32], now: u32) -> Figures {
        let mut figures = self.summed(of);
        figures.set_rates(self.rates(of, now));
        figures
    }

    /// As [`Engine::counted`], without rates, but for those of rows that calls failed in.
    fn summed_up(&self, of: &[u32], now: u32) -> Figures {
        let mut figures = self.summed(of);
        if figures.failed() != 0 {
            figures.set_rates(self.rates(of, now));
        }
        figures
    }

    fn summed(&self, of: &[u32]) -> Figures {
        let mut figures = Figures::default();
        of.iter().for_each(|at| figures.add(self.group(*at)));
        figures
    }

    /// Of some groups together: created, ended, failed.
    pub(crate) fn rates(&self, of: &[u32], now: u32) -> [Rates; 3] {
        let mut windows = Windows::new(now, Rates::WINDOWS);
        if of.len() == self.groups.all.len() {
            // As in the only namespace of a machine.
            windows.add(&self.history);
        } else {
            of.iter().for_each(|at| windows.add(&self.group(*at).history));
        }
        Rates::of(&windows)
    }

    /// The figures of a row, so much of them.
    pub(crate) fn row_figures(&self, row: u32, of: &[u32], now: u32, depth: Depth) -> Figures {
        let mut figures = match depth {
            Depth::Counts => self.summed_up(of, now),
            Depth::Rates => self.counted(of, now),
            Depth::Whole => self.figures(of, now),
        };
        (figures.live, figures.peak_live) = self.groups.living(row);
        figures
    }

    /// All together, with percentiles or without.
    pub(crate) fn total(&self, now: u32, is_whole: bool) -> Figures {
        let mut figures = if is_whole {
            let all: Vec<u32> = self.all().map(|(at, _)| at).collect();
            self.figures(&all, now)
        } else {
            // Of all together, what happened lately is known without asking every group.
            let (mut figures, mut windows) = (Figures::default(), Windows::new(now, Rates::WINDOWS));
            self.all().for_each(|(_, group)| figures.add(group));
            windows.add(&self.history);
            figures.set_rates(Rates::of(&windows));
            figures
        };
        figures.counts.loss = self.loss;
        let population = self.groups.population;
        (figures.live, figures.peak_live) = (population.now.into(), population.most.into());
        figures
    }

    /// What came and went in all.
    pub(crate) fn counts_in_all(&self) -> Counts {
        let mut counts = Counts { loss: self.loss, ..Counts::default() };
        self.all().for_each(|(_, group)| counts.take_over(&group.counts));
        counts
    }

    /// Events of which it is not told apart whose they are, or where.
    pub(crate) fn folded(&self) -> u64 {
        let others = self.all().filter(|(_, group)| group.key.side == super::key::Side::Others);
        others.map(|(_, group)| group.counts.events()).sum()
    }
}
