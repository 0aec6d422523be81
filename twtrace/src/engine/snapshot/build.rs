//! Owns: which rows there are at a moment, and their order.
//! Must not know: who asked.

use super::make::Make;
use super::survey::{Survey, hotter};
use super::*;
use crate::engine::groups::Table;
use crate::engine::history::{Flow, series};
use crate::engine::key::RowId;
use crate::engine::read::{Depth, Index};
use crate::engine::{GONE_STAYS_NS, Tracker};

impl By {
    pub(in crate::engine) const fn table(self) -> Table {
        match self {
            Self::Process => Table::Process,
            Self::Tuple => Table::Tuple,
            Self::Peer => Table::Peer,
            Self::Port => Table::Port,
            Self::Container => Table::Container,
            Self::Netns => Table::Netns,
        }
    }
}

/// Which rows come first: most live, most created, most failed.
type Rank = std::cmp::Reverse<(u64, u64, u64)>;

/// How much of its tables a snapshot has. What is left out takes most of the time, and [`Tracker::rows_named`] has it of single rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What connections were like, and what that usually means.
    pub percentiles: bool,
    /// Events a second, also of rows that no finding could be about.
    pub rates: bool,
    /// What processes are.
    pub identities: bool,
    /// What processes mainly deal with, also of those that no finding could be about.
    pub links: bool,
    /// Behind the first table, also the pools that no finding could be about.
    pub quiet_pools: bool,
    /// In the first table, rows that no finding could be about come as [`Snapshot::bare`]: of processes, pools, peers and served ports.
    pub bare: bool,
}

impl Extent {
    /// All of it.
    pub const WHOLE: Self = Self {
        percentiles: true,
        rates: true,
        identities: true,
        links: true,
        quiet_pools: true,
        bare: false,
    };
    /// How many there are, and how fast that changes.
    pub const COUNTS: Self = Self { percentiles: false, identities: false, ..Self::WHOLE };
    /// What most screens want.
    pub const SCREEN: Self = Self {
        percentiles: false,
        rates: false,
        identities: false,
        links: false,
        quiet_pools: false,
        bare: true,
    };

    /// Of the table at this place.
    fn of_table(self, at: usize) -> Self {
        Self { quiet_pools: self.quiet_pools || at == 0, bare: self.bare && at == 0, ..self }
    }

    /// Of rows that a finding may be about, where `presses`, or of others.
    pub(super) fn depth(self, presses: bool) -> Depth {
        match self {
            Self { percentiles: true, .. } => Depth::Whole,
            Self { rates: true, .. } => Depth::Rates,
            _ if presses => Depth::Rates,
            _ => Depth::Counts,
        }
    }

    /// Whether nothing of another one is missing in it.
    pub fn holds(self, other: Self) -> bool {
        self.percentiles >= other.percentiles
            && self.rates >= other.rates
            && self.identities >= other.identities
            && self.links >= other.links
            && self.quiet_pools >= other.quiet_pools
            && self.bare <= other.bare
    }
}

/// One table, being made.
struct Rows<'a> {
    by: By,
    make: Make<'a>,
    index: &'a Index,
}

impl Rows<'_> {
    /// What a row is ordered by; `None` where it is not shown: nobody asks about it any more, or nothing in it ended as it should.
    fn rank(&self, row: u32) -> Option<Rank> {
        let (engine, now_ns) = (&self.make.tracker.engine, self.make.tracker.now_ns);
        let groups = || self.index.groups(row).iter().map(|at| engine.group(*at));
        let (mut created, mut failed, mut last_ns) = (0, 0, 0);
        for group in groups() {
            created += group.counts.created;
            failed += group.failed();
            last_ns = last_ns.max(group.last_ns);
        }
        let live = engine.groups.living(row).0;
        let is_gone = engine.groups.rows[row as usize].gone;
        let is_over = is_gone && live == 0 && last_ns.saturating_add(GONE_STAYS_NS) < now_ns;
        let is_shown =
            !is_over && (engine.reasons.is_empty() || groups().any(|group| group.counts.ended() != 0));
        is_shown.then_some(std::cmp::Reverse((live, created, failed)))
    }

    /// The rows in their order: with each its name and what it is ordered by.
    fn ordered<K: Ord>(&self, key: impl Fn(u32) -> Option<K>) -> Vec<(Rank, K, u32)> {
        let named = self.index.rows().filter(|row| self.make.id(*row) != RowId::Others);
        let mut ranked: Vec<(Rank, K, u32)> =
            named.filter_map(|row| Some((self.rank(row)?, key(row)?, row))).collect();
        ranked.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        ranked
    }

    /// What is not told apart.
    fn others(&self) -> Option<Figures> {
        let row = self.make.tracker.engine.groups.find_row(self.by.table(), RowId::Others)?;
        let figures = self.make.figures(row, self.by == By::Netns);
        Some(figures).filter(|figures| figures.counts.events() + figures.live != 0)
    }

    /// The rows in their order. Of those that no finding could be about, where that is enough, only what `bare` is to say.
    fn table<K: Ord + Copy, R>(
        &self,
        key: impl Fn(u32) -> Option<K>,
        named: impl Fn(K) -> RowKey,
        make: impl Fn(u32, K) -> Option<R>,
        bare: &mut Vec<BareRow>,
    ) -> Vec<R> {
        let ordered = self.ordered(key);
        if !self.make.extent.bare {
            // Rows are large: a list that grows would be there twice.
            let mut made = Vec::with_capacity(ordered.len());
            made.extend(ordered.into_iter().filter_map(|(_, key, row)| make(row, key)));
            return made;
        }
        bare.reserve(ordered.len());
        let mut made = Vec::new();
        for (std::cmp::Reverse((live, created, failed)), key, row) in ordered {
            if failed != 0 || self.make.presses(row) {
                made.extend(make(row, key));
            } else {
                let pressure = self.make.survey.pressure(row);
                bare.push(BareRow { key: named(key), live, created, pressure });
            }
        }
        made
    }
}

impl Tracker {
    /// The state now. Only the tables in `wanted` are filled; the head always is.
    pub fn snapshot(&self, wanted: &[By]) -> Snapshot {
        self.snapshot_of(&self.survey(), wanted, Extent::WHOLE)
    }

    /// What a snapshot and folded rows of one moment are made of. The tracker must not change in between.
    pub fn survey(&self) -> Survey<'_> {
        Survey::of(self)
    }

    /// As [`Tracker::snapshot`], of a survey that was made, and no more than `extent` says.
    pub fn snapshot_of(&self, survey: &Survey<'_>, wanted: &[By], extent: Extent) -> Snapshot {
        let now = survey.now;
        let series = |flow| series(std::iter::once(&self.engine.history), flow, now);
        let mut snapshot = Snapshot {
            now_ns: self.now_ns,
            began_ns: self.began_ns.unwrap_or(self.now_ns),
            total: self.engine.total(now, extent.percentiles),
            created_history: series(Flow::Created),
            ended_history: series(Flow::Ended),
            fullest: self.fullest(),
            hottest: self.hottest(survey),
            not_bound: survey.not_bound(),
            inferred: survey.inferences(),
            dropped: self.dropped(),
            only: self.engine.reasons.clone(),
            part: self.engine.part.clone(),
            ..Snapshot::default()
        };
        for (at, by) in wanted.iter().enumerate() {
            self.fill(&mut snapshot, survey, *by, extent.of_table(at));
        }
        snapshot
    }

    /// Fills one table.
    fn fill(&self, snapshot: &mut Snapshot, survey: &Survey<'_>, by: By, extent: Extent) {
        let make = Make { tracker: self, survey, table: by.table(), extent };
        let rows = Rows { by, make, index: survey.indexes.of(by.table()) };
        snapshot.others.extend(rows.others().map(|figures| (by, figures)));
        let (engine, bare) = (&self.engine, &mut snapshot.bare);
        match by {
            By::Process => {
                let made = |row, key| Some(make.process(row, key));
                snapshot.processes = rows.table(|row| engine.process_key(row), RowKey::Process, made, bare);
            }
            By::Tuple => {
                let is_told = |row: &u32| extent.quiet_pools || survey.may_press(*row);
                let key = |row| match engine.target(Some(row).filter(is_told)?)? {
                    Target::Tuple(key) => Some(key),
                    Target::Port(_) => None,
                };
                let made = |row, key| Some(make.tuple(row, key));
                snapshot.tuples = rows.table(key, RowKey::Tuple, made, bare);
                snapshot.tuples.extend(survey.silent());
            }
            By::Peer => {
                let key = |row| make.peer_key(row);
                let made = |row, key| Some(PeerRow { key, figures: make.figures(row, false) });
                snapshot.peers = rows.table(key, RowKey::Peer, made, bare);
            }
            By::Port => {
                let key = |row| make.port_key(row);
                let made = |row, key| Some(make.port(row, key));
                snapshot.ports = rows.table(key, RowKey::Port, made, bare);
            }
            By::Container => {
                let ordered = rows.ordered(|row| make.container_key(row));
                let row = |(_, key, row)| ContainerRow { key, figures: make.figures(row, false) };
                snapshot.containers = ordered.into_iter().map(row).collect();
            }
            By::Netns => {
                let ordered = rows.ordered(|row| make.netns_key(row));
                snapshot.netns = ordered.into_iter().map(|(_, key, row)| make.netns(row, key)).collect();
            }
        }
    }

    /// What the bounds made it drop.
    pub fn dropped(&self) -> Dropped {
        Dropped { rows: self.folded, events: self.engine.folded(), sockets: self.dropped_sockets }
    }

    fn hottest(&self, survey: &Survey<'_>) -> Option<TupleRow> {
        let make = Make { tracker: self, survey, table: Table::Tuple, extent: Extent::WHOLE };
        let told = survey.hottest.and_then(|row| match self.engine.target(row)? {
            Target::Tuple(key) => Some(make.tuple(row, key)),
            Target::Port(_) => None,
        });
        let silent = survey.silent().into_iter();
        let heat = |row: &TupleRow, than: &TupleRow| match row.pressure {
            Some(pressure) => hotter(pressure, than.pressure),
            None => false,
        };
        told.into_iter().chain(silent).reduce(|best, row| if heat(&row, &best) { row } else { best })
    }

    fn fullest(&self) -> Option<Fullest> {
        let known = (0..).zip(&self.engine.groups.rows).filter_map(|(at, row)| {
            let RowId::Netns(netns) = row.id else { return None };
            let max_tw_buckets = self.engine.pools.told(netns)?.settings.max_tw_buckets?;
            Some(Fullest { netns, live: self.engine.groups.living(at).0, max_tw_buckets })
        });
        // a/b > c/d without dividing by a limit that may be 0.
        known.max_by_key(|row| {
            (
                row.live * u64::from(u32::MAX) / u64::from(row.max_tw_buckets.max(1)),
                std::cmp::Reverse(row.netns),
            )
        })
    }
}
