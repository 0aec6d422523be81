//! Owns: how what the engine counted becomes the rows of a moment.
//! Must not know: who asked.

use super::survey::{Survey, hotter};
use super::*;
use crate::engine::groups::Table;
use crate::engine::history::{Flow, series};
use crate::engine::key::RowId;
use crate::engine::pattern::Evidence;
use crate::engine::read::{Depth, Index};
use crate::engine::{Engine, GONE_STAYS_NS, Tracker};

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

/// How much of its tables a snapshot has. What is left out takes most of the time, and [`Tracker::measured`] has it of single rows.
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
}

impl Extent {
    /// All of it.
    pub const WHOLE: Self =
        Self { percentiles: true, rates: true, identities: true, links: true, quiet_pools: true };
    /// How many there are, and how fast that changes.
    pub const COUNTS: Self =
        Self { percentiles: false, rates: true, identities: false, links: true, quiet_pools: true };
    /// What most screens want.
    pub const SCREEN: Self =
        Self { percentiles: false, rates: false, identities: false, links: false, quiet_pools: false };

    /// Of the table at this place.
    fn of_table(self, at: usize) -> Self {
        Self { quiet_pools: self.quiet_pools || at == 0, ..self }
    }

    /// Of rows that a finding may be about, where `presses`, or of others.
    fn depth(self, presses: bool) -> Depth {
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
    }
}

/// One table, being made.
struct Rows<'a> {
    by: By,
    engine: &'a Engine,
    index: &'a Index,
    now: u32,
    now_ns: u64,
    extent: Extent,
}

impl Rows<'_> {
    /// What a row is ordered by; `None` where it is not shown: nobody asks about it any more, or nothing in it ended as it should.
    fn rank(&self, row: u32) -> Option<Rank> {
        let (mut created, mut failed, mut ended, mut last_ns) = (0, 0, 0, 0);
        for at in self.index.groups(row) {
            let group = self.engine.group(*at);
            created += group.counts.created;
            failed += group.failed();
            ended += group.counts.ended();
            last_ns = last_ns.max(group.last_ns);
        }
        let live = self.engine.groups.living(row).0;
        let is_gone = self.engine.groups.rows[row as usize].gone;
        let is_over = is_gone && live == 0 && last_ns.saturating_add(GONE_STAYS_NS) < self.now_ns;
        let is_shown = !is_over && (self.engine.reasons.is_empty() || ended != 0);
        is_shown.then_some(std::cmp::Reverse((live, created, failed)))
    }

    fn id(&self, row: u32) -> RowId {
        self.engine.groups.rows[row as usize].id
    }

    /// The rows in their order. Rows are large: they are made in that order and never moved.
    fn ordered<K: Ord>(&self, key: impl Fn(u32) -> Option<K>) -> Vec<(u32, K)> {
        let named = self.index.rows().filter(|row| self.id(*row) != RowId::Others);
        let mut ranked: Vec<(Rank, K, u32)> =
            named.filter_map(|row| Some((self.rank(row)?, key(row)?, row))).collect();
        ranked.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        ranked.into_iter().map(|(_, key, row)| (row, key)).collect()
    }

    fn figures(&self, row: u32) -> Figures {
        let (of, presses) = (self.index.groups(row), self.by == By::Netns);
        self.engine.row_figures(row, of, self.now, self.extent.depth(presses))
    }

    /// What is not told apart.
    fn others(&self) -> Option<Figures> {
        let row = self.index.rows().find(|row| self.id(*row) == RowId::Others)?;
        Some(self.figures(row)).filter(|figures| figures.counts.events() + figures.live != 0)
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
            ..Snapshot::default()
        };
        for (at, by) in wanted.iter().enumerate() {
            let rows = self.rows(survey, *by, extent.of_table(at));
            snapshot.others.extend(rows.others().map(|figures| (*by, figures)));
            match by {
                By::Process => snapshot.processes = self.process_rows(&rows, survey),
                By::Tuple => snapshot.tuples = self.tuple_rows(&rows, survey),
                By::Peer => snapshot.peers = self.peer_rows(&rows),
                By::Port => snapshot.ports = self.port_rows(&rows, survey),
                By::Container => snapshot.containers = self.container_rows(&rows),
                By::Netns => snapshot.netns = self.netns_rows(&rows, survey),
            }
        }
        snapshot
    }

    fn rows<'a>(&'a self, survey: &'a Survey<'_>, by: By, extent: Extent) -> Rows<'a> {
        let index = survey.indexes.of(by.table());
        Rows { by, engine: &self.engine, index, now: survey.now, now_ns: self.now_ns, extent }
    }

    /// What the bounds made it drop.
    pub fn dropped(&self) -> Dropped {
        Dropped { rows: self.folded, events: self.engine.folded(), sockets: self.dropped_sockets }
    }

    fn process_rows(&self, rows: &Rows<'_>, survey: &Survey<'_>) -> Vec<ProcessRow> {
        let row = |(at, key): (u32, ProcessKey)| {
            let (dealings, figures) = (survey.dealings(at), rows.figures(at));
            let pressure = survey.pressure_of(&dealings);
            let has_links = rows.extent.links
                || key.is_unknown()
                || figures.failed() != 0
                || pressure.is_some_and(|pressure| pressure.is_pressing());
            let latest = self.latest(rows.index.groups(at));
            ProcessRow {
                key,
                uid: latest.and_then(|group| group.key.owner).map_or(0, |owner| owner.uid),
                identity: if rows.extent.identities { self.identity(&key) } else { None },
                gone: self.engine.groups.rows[at as usize].gone,
                main: if has_links { survey.main_of(&dealings) } else { None },
                hottest: if has_links { survey.hottest_of(&dealings) } else { None },
                targets: dealings.targets,
                pressure,
                pattern: if rows.extent.percentiles {
                    Pattern::of(&Evidence::of(&figures, dealings.starved, pressure))
                } else {
                    Pattern::Unclear
                },
                figures,
            }
        };
        rows.ordered(|row| self.engine.process_key(row)).into_iter().map(row).collect()
    }

    fn hottest(&self, survey: &Survey<'_>) -> Option<TupleRow> {
        let told = survey.hottest.as_ref();
        let told = told.and_then(|(row, of)| self.tuple_row(*row, of, Extent::WHOLE, survey));
        let silent = survey.silent().into_iter();
        let heat = |row: &TupleRow, than: &TupleRow| match row.pressure {
            Some(pressure) => hotter(pressure, than.pressure),
            None => false,
        };
        told.into_iter().chain(silent).reduce(|best, row| if heat(&row, &best) { row } else { best })
    }

    fn tuple_row(&self, row: u32, of: &[u32], extent: Extent, survey: &Survey<'_>) -> Option<TupleRow> {
        let Target::Tuple(key) = self.engine.target(row)? else { return None };
        let pressure = survey.pressure(row);
        let depth = extent.depth(survey.may_press(row));
        let figures = self.engine.row_figures(row, of, survey.now, depth);
        let known = self.engine.groups.rows[row as usize].ports();
        let others = known.and_then(|tuple| self.engine.ports.others_by_state(tuple));
        let (main, failing) = (survey.holder(row), survey.failing(row));
        Some(TupleRow { key, figures, pressure, others, main, failing })
    }

    fn tuple_rows(&self, rows: &Rows<'_>, survey: &Survey<'_>) -> Vec<TupleRow> {
        let ordered = rows.ordered(|row| self.engine.target(row));
        let told = ordered.into_iter().filter(|(row, _)| rows.extent.quiet_pools || survey.may_press(*row));
        let row = |(row, _)| self.tuple_row(row, rows.index.groups(row), rows.extent, survey);
        let told = told.filter_map(row);
        told.chain(survey.silent()).collect()
    }

    fn peer_rows(&self, rows: &Rows<'_>) -> Vec<PeerRow> {
        let key = |row| match rows.id(row) {
            RowId::Peer(address) => self.engine.address(address),
            _ => None,
        };
        let row = |(row, key)| PeerRow { key, figures: rows.figures(row) };
        rows.ordered(key).into_iter().map(row).collect()
    }

    fn port_rows(&self, rows: &Rows<'_>, survey: &Survey<'_>) -> Vec<PortRow> {
        let key = |row| match rows.id(row) {
            RowId::Port { netns, port } => Some(PortKey { netns, sport: port }),
            _ => None,
        };
        let row = |(row, key)| PortRow { key, figures: rows.figures(row), main: survey.holder(row) };
        rows.ordered(key).into_iter().map(row).collect()
    }

    fn container_rows(&self, rows: &Rows<'_>) -> Vec<ContainerRow> {
        let key = |row| match rows.id(row) {
            RowId::Container(name) => Some(self.engine.text(name).map(str::to_owned)),
            _ => None,
        };
        let row = |(row, key)| ContainerRow { key, figures: rows.figures(row) };
        rows.ordered(key).into_iter().map(row).collect()
    }

    fn netns_rows(&self, rows: &Rows<'_>, survey: &Survey<'_>) -> Vec<NetnsRow> {
        let key = |row| match rows.id(row) {
            RowId::Netns(inode) => Some(inode),
            _ => None,
        };
        let row = |(row, key)| NetnsRow {
            key,
            figures: rows.figures(row),
            capacity: self.engine.ports.told(key).cloned(),
            main: survey.holder(row),
        };
        rows.ordered(key).into_iter().map(row).collect()
    }

    fn fullest(&self) -> Option<Fullest> {
        let known = (0..).zip(&self.engine.groups.rows).filter_map(|(at, row)| {
            let RowId::Netns(netns) = row.id else { return None };
            let max_tw_buckets = self.engine.ports.told(netns)?.max_tw_buckets;
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
