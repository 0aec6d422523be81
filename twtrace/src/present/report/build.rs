//! Owns: how what was counted under keys becomes the rows of tables.
//! Must not know: how rows are counted, how they are shown.

use std::collections::{HashMap, HashSet};

use super::MOST_ROWS;
use super::count::Counting;
use super::model::{By, Figures, Name, Peak, ReportRow, Timeline, TimelineSpan};
use super::timeline::{Count, Stretch};
use crate::engine::groups::{Group, Table};
use crate::engine::intern::{Hasher, NONE, OTHERS};
use crate::engine::key::{RowId, Side};
use crate::engine::{Counts, Engine, Index, PortKey, Target, TupleKey};
use crate::model::identity::Names;
use crate::model::ordering::Ordered as _;

/// By which rows come first: most created, then most failed, most ended, most alive.
type Rank = (u64, u64, u64, u64);

/// Groups that make a row, by a number that names it.
type Parts = HashMap<u32, Vec<u32>, Hasher>;

/// Stands for the row of others, where it has no number of its own.
const OTHERS_ROW: u32 = u32::MAX;

/// What was counted, as rows.
pub(super) struct Builder<'a> {
    counting: &'a Counting,
    engine: &'a Engine,
    /// Names of network namespaces that have one.
    names: HashMap<u32, String>,
    /// Ports of the namespaces that are known by now; those that were counted by another range have none.
    ports: HashMap<u32, u32>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(counting: &'a Counting, names: HashMap<u32, String>, ports: HashMap<u32, u32>) -> Self {
        Self { counting, engine: &counting.engine, names, ports }
    }

    /// All together.
    pub(super) fn total(&self) -> Figures {
        Figures { peak_live: self.counting.population.most, ..self.engine.total(0, true) }
    }

    /// The fullest pool there was.
    pub(super) fn fullest(&self) -> Option<Peak> {
        self.peak_of(self.engine.all().map(|(_, group)| group))
    }

    /// Whether there are pools of which nobody knows how many ports they have.
    pub(super) fn has_unmeasured_pools(&self) -> bool {
        let mut targets =
            self.engine.all().filter_map(|(_, group)| self.engine.target(group.row(Table::Tuple)?));
        targets.any(|target| matches!(target, Target::Tuple(tuple) if !self.ports.contains_key(&tuple.netns)))
    }

    /// One row for each name of an owner. How many of them lived at one time is not known.
    pub(super) fn comms(&self) -> (Vec<ReportRow>, u64) {
        let mut parts = Parts::default();
        for (at, group) in self.engine.all() {
            let name = match (group.key.side, group.key.owner) {
                (Side::Unborn, _) => continue,
                (Side::Others, _) => OTHERS_ROW,
                (_, None) => NONE,
                (_, Some(owner)) => owner.comm,
            };
            parts.entry(name).or_default().push(at);
        }
        let (parts, folded) = most(parts, OTHERS_ROW, |groups| self.rank(groups, 0));
        let row = |(at, groups): (u32, Vec<u32>)| {
            let name = match at {
                OTHERS_ROW => Name::Others,
                NONE => Name::Unknown,
                comm => Name::Comm(self.text(comm).unwrap_or_default()),
            };
            let peak = self.peak_of(groups.iter().map(|at| self.engine.group(*at)));
            ReportRow { peak, ..ReportRow::new(name, self.engine.figures(&groups, 0)) }
        };
        (sorted(parts.into_iter().map(row).collect()), folded)
    }

    fn rank(&self, groups: &[u32], peak_live: u64) -> Rank {
        let mut rank = (0, 0, 0, peak_live);
        for group in groups.iter().map(|at| self.engine.group(*at)) {
            rank.0 += group.counts.created;
            rank.1 += group.failed();
            rank.2 += group.counts.ended();
        }
        rank
    }

    /// One row for each thing of a kind, and how many are not told apart.
    pub(super) fn table(&self, by: By) -> (Vec<ReportRow>, u64) {
        let table = match by {
            By::Process => Table::Process,
            By::Peer => Table::Peer,
            By::Tuple => Table::Tuple,
            By::Port => Table::Port,
            By::Container => Table::Container,
            By::Netns => Table::Netns,
            By::Reason => return (self.reasons(), 0),
            By::Host => return (Vec::new(), 0),
        };
        let (index, living) = (Index::of(self.engine, table), |row| self.engine.groups.living(row));
        let is_others = |row: &u32| self.engine.groups.rows[*row as usize].id == RowId::Others;
        let others = index.rows().find(is_others).unwrap_or(OTHERS_ROW);
        let all: Parts = index.rows().map(|row| (row, index.groups(row).to_vec())).collect();
        let numbers: Vec<u32> = all.keys().copied().collect();
        let (parts, folded) = most_of(all, others, |row, groups| self.rank(groups, living(row).1));
        // Those that are not told apart live together; when most of them did, nobody knows, but there were so many at least.
        let folded_rows = numbers.into_iter().filter(|row| *row != others && !parts.contains_key(row));
        let among = folded_rows.chain([others]).map(living);
        let among = among.fold((0, 0), |sum: (u64, u64), one| (sum.0 + one.0, sum.1.max(one.1)));
        let among = (among.0, among.1.max(among.0));
        let row = |(at, groups): (u32, Vec<u32>)| {
            self.row(at, &groups, table, if at == others { among } else { living(at) })
        };
        (sorted(parts.into_iter().filter_map(row).collect()), folded)
    }

    fn row(&self, at: u32, of: &[u32], table: Table, (live, peak_live): (u64, u64)) -> Option<ReportRow> {
        let groups = || of.iter().map(|at| self.engine.group(*at));
        let id = self.engine.groups.rows.get(at as usize).map_or(RowId::Others, |row| row.id);
        let name = self.name(id, groups().max_by_key(|group| group.last_ns))?;
        let mut row = ReportRow::new(name, Figures { live, peak_live, ..self.engine.figures(of, 0) });
        // Of equals the first.
        let main = groups().rev().max_by_key(|group| group.counts.events() + group.counts.listed);
        row.names = self.names_of(id, groups().max_by_key(|group| group.last_ns));
        match table {
            Table::Process => {
                row.target = main.and_then(|group| self.target(group));
                row.strip = self.counting.strips.of(at, self.counting.last_ns);
            }
            Table::Tuple | Table::Port => {
                row.main = main.and_then(|group| group.key.owner).and_then(|owner| self.text(owner.comm));
            }
            Table::Peer | Table::Container | Table::Netns | Table::Link => {}
        }
        if table == Table::Process || table == Table::Tuple {
            row.peak = self.peak_of(groups());
        }
        Some(row)
    }

    fn name(&self, id: RowId, latest: Option<&Group>) -> Option<Name> {
        Some(match id {
            RowId::None | RowId::Link { .. } => return None,
            RowId::Others => Name::Others,
            RowId::Process { pid: 0, .. } => Name::Unknown,
            RowId::Process { pid, start, comm } => {
                let owner = latest.and_then(|group| group.key.owner);
                Name::Process {
                    pid,
                    start_ns: start,
                    comm: self.text(comm).unwrap_or_default(),
                    uid: owner.map_or(0, |owner| owner.uid),
                    exe: latest.and_then(|group| self.text(group.exe)),
                    container: owner.and_then(|owner| self.text(owner.container)),
                }
            }
            RowId::Tuple { netns, saddr, daddr, port } => Name::Tuple(TupleKey {
                netns,
                saddr: self.engine.address(saddr)?,
                daddr: self.engine.address(daddr)?,
                dport: port,
            }),
            RowId::Port { netns, port } => Name::Port(PortKey { netns, sport: port }),
            RowId::Peer(address) => Name::Peer(self.engine.address(address)?),
            RowId::Container(NONE) => Name::Container(None),
            RowId::Container(OTHERS) => Name::Others,
            RowId::Container(name) => Name::Container(self.text(name)),
            RowId::Netns(inode) => Name::Netns(inode, self.names.get(&inode).cloned()),
        })
    }

    /// What a container, or that of a process, is called.
    fn names_of(&self, id: RowId, latest: Option<&Group>) -> Option<Names> {
        let container = match id {
            RowId::Container(container) => container,
            RowId::Process { .. } => latest?.key.owner?.container,
            _ => return None,
        };
        self.counting.namings.of(container, self.engine)
    }

    fn target(&self, group: &Group) -> Option<Target> {
        self.engine.target(group.row(Table::Tuple).or(group.row(Table::Port))?)
    }

    /// How full the fullest pool of some groups was at the worst; of equals the first.
    fn peak_of<'g>(&self, groups: impl Iterator<Item = &'g Group>) -> Option<Peak> {
        let mut pools = HashSet::<u32, Hasher>::default();
        let mut best: Option<Peak> = None;
        for row in groups.filter_map(|group| group.row(Table::Tuple)) {
            if pools.insert(row)
                && let Some(peak) = self.peak(row)
                && best.is_none_or(|best| peak.pressure() > best.pressure())
            {
                best = Some(peak);
            }
        }
        best
    }

    /// How full a pool was at the worst.
    fn peak(&self, row: u32) -> Option<Peak> {
        let Target::Tuple(tuple) = self.engine.target(row)? else { return None };
        let most = self.engine.pools.most(self.engine.groups.rows.get(row as usize)?.pool()?);
        let ports = *self.ports.get(&tuple.netns)?;
        (most.ports != 0).then_some(Peak { tuple, ports_in_use: most.ports, ports, at_ns: most.at_ns })
    }

    fn reasons(&self) -> Vec<ReportRow> {
        let mut counts = Counts::default();
        self.engine.all().for_each(|(_, group)| counts.take_over(&group.counts));
        let row = |(reason, count)| {
            let mut figures = Figures::default();
            figures.counts.ended_by[reason as usize] = count;
            figures.lifetime_ms = self.engine.lifetimes[reason as usize].percentiles();
            ReportRow::new(Name::Reason(reason), figures)
        };
        let mut rows: Vec<ReportRow> = counts.reasons().map(row).collect();
        rows.order_by_key(|row| std::cmp::Reverse(row.figures.counts.ended()));
        rows
    }

    /// Stretch by stretch.
    pub(super) fn timeline(&self) -> Timeline {
        let line = &self.counting.timeline;
        let every_ns = line.width_ns();
        let moment = |(at, stretch): (usize, &Stretch)| {
            let count = |count: Count| stretch.counts[count as usize];
            TimelineSpan {
                at_ns: line.began_ns().saturating_add(every_ns.saturating_mul(at as u64)),
                created: count(Count::Created),
                ended: count(Count::Ended),
                overflow: count(Count::Overflow),
                connect_failed: count(Count::ConnectFailed),
                bind_failed: count(Count::BindFailed),
                aborted: count(Count::Aborted),
                lost: count(Count::Lost),
                live: stretch.live,
                peak_live: stretch.most_live,
                pressure: stretch.pressure,
            }
        };
        Timeline { every_ns, moments: line.stretches().iter().enumerate().map(moment).collect() }
    }

    fn text(&self, id: u32) -> Option<String> {
        self.engine.text(id).map(str::to_owned)
    }
}

fn most(parts: Parts, others: u32, rank: impl Fn(&[u32]) -> Rank) -> (Parts, u64) {
    most_of(parts, others, |_, groups| rank(groups))
}

/// The first [`MOST_ROWS`] to themselves, all others in `others`; and how many those are.
fn most_of(mut parts: Parts, others: u32, rank: impl Fn(u32, &[u32]) -> Rank) -> (Parts, u64) {
    if parts.len() <= MOST_ROWS {
        return (parts, 0);
    }
    let told = parts.iter().filter(|(row, _)| **row != others);
    let mut told: Vec<(Rank, std::cmp::Reverse<u32>)> =
        told.map(|(row, groups)| (rank(*row, groups), std::cmp::Reverse(*row))).collect();
    told.sort_unstable_by(|a, b| b.cmp(a));
    let folded = told.split_off(told.len().min(MOST_ROWS));
    for (_, std::cmp::Reverse(row)) in &folded {
        let groups = parts.remove(row).unwrap_or_default();
        parts.entry(others).or_default().extend(groups);
    }
    (parts, folded.len() as u64)
}

fn sorted(mut rows: Vec<ReportRow>) -> Vec<ReportRow> {
    rows.order_by(order);
    rows
}

/// Most created first, then most failed, most ended, most alive; the name makes it certain, and whose it is.
pub(super) fn order(a: &ReportRow, b: &ReportRow) -> std::cmp::Ordering {
    let rank = |row: &ReportRow| {
        let Figures { counts, peak_live, .. } = &row.figures;
        (counts.created, row.figures.failed(), counts.ended(), *peak_live)
    };
    let others = |row: &ReportRow| row.name == Name::Others;
    others(a)
        .cmp(&others(b))
        .then_with(|| rank(b).cmp(&rank(a)))
        .then_with(|| (&a.name, &a.host).cmp(&(&b.name, &b.host)))
}
