//! Owns: how what was counted under keys becomes the rows of tables.
//! Must not know: how rows are counted, how they are shown.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::fold::intern::{NONE, OTHERS};
use super::fold::key::{Key, RowKey, Side};
use super::fold::spread::Spread;
use super::fold::timeline::Count;
use super::fold::{Address, Fold, Group, Table};
use super::model::{By, Figures, Moment, Name, Peak, Row, Target, Timeline};
use crate::doctor::facts::Process;
use crate::event::{Reason, Role};
use crate::tracker::{Counts, PortKey, TupleKey};

/// What a row adds up to.
#[derive(Default)]
struct Sum {
    figures: Figures,
    age_us: Spread,
    lifetime_ms: Spread,
    sent: Spread,
    received: Spread,
    /// The group that most happened in, and how much.
    main: Option<(u64, usize)>,
    /// The group that was heard of last.
    latest: Option<usize>,
}

impl Sum {
    fn add(&mut self, at: usize, group: &Group, peak: Option<Peak>) {
        let figures = &mut self.figures;
        add_counts(&mut figures.counts, &group.counts);
        figures.client += group.created_as(Role::Client);
        figures.server += group.created_as(Role::Server);
        figures.fin_wait2 += group.fin_wait2;
        figures.via.iter_mut().zip(group.via).for_each(|(sum, part)| *sum += part);
        if group.first_ns != 0 && (figures.first_ns == 0 || group.first_ns < figures.first_ns) {
            figures.first_ns = group.first_ns;
        }
        if group.last_ns >= figures.last_ns {
            (figures.last_ns, self.latest) = (group.last_ns, Some(at));
        }
        let hotter = |peak: &Peak| figures.peak.is_none_or(|known| peak.pressure() > known.pressure());
        if let Some(peak) = peak.filter(hotter) {
            figures.peak = Some(peak);
        }
        let weight = group.counts.events() + group.counts.listed;
        if self.main.is_none_or(|(most, _)| weight > most) {
            self.main = Some((weight, at));
        }
        self.age_us.merge(&group.age_us);
        self.lifetime_ms.merge(&group.lifetime_ms);
        self.sent.merge(&group.sent);
        self.received.merge(&group.received);
    }

    fn finish(self) -> Figures {
        Figures {
            age_us: self.age_us.percentiles(),
            lifetime_ms: self.lifetime_ms.percentiles(),
            sent: self.sent.percentiles(),
            received: self.received.percentiles(),
            ..self.figures
        }
    }
}

fn add_counts(sum: &mut Counts, part: &Counts) {
    sum.created += part.created;
    sum.listed += part.listed;
    sum.ended_by.iter_mut().zip(part.ended_by).for_each(|(sum, part)| *sum += part);
    sum.overflow += part.overflow;
    sum.connect_failed += part.connect_failed;
    sum.bind_failed += part.bind_failed;
    sum.aborted += part.aborted;
    sum.syn_refused += part.syn_refused;
}

/// Rows that a table has at most; those of the least figures are one row of others together, so that sums stay exact. As many as a
/// live view keeps of processes, tuples and peers.
pub(super) const MOST_ROWS: usize = 16_384;

/// By which rows come first: most created, then most failed, most ended, most alive.
type Rank = (u64, u64, u64, u64);

/// A table that is added up.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// By number, in no order.
    pub(super) rows: Vec<(u32, Row)>,
    /// Rows that are not told apart.
    pub(super) folded: u64,
}

/// Stands for the row of others, where it has no number of its own.
const OTHERS_ROW: u32 = u32::MAX;

/// What was counted, as rows.
pub(super) struct Builder<'a> {
    fold: &'a Fold,
    /// Names of network namespaces that have one.
    names: HashMap<u32, String>,
    /// Ports of the namespaces that are known by now; those that were counted by another range have none.
    ports: HashMap<u32, u32>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(fold: &'a Fold, names: HashMap<u32, String>, ports: HashMap<u32, u32>) -> Self {
        Self { fold, names, ports }
    }

    /// What was counted, one key at a time.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, &'a Group)> {
        let passed = |group: &&Group| group.passed();
        self.fold.groups.all.iter().enumerate().filter(move |(_, group)| passed(group))
    }

    /// Events of which it is not told apart whose they are, or where.
    pub(super) fn folded_events(&self) -> u64 {
        self.groups()
            .filter(|(_, group)| group.key.side == Side::Others)
            .map(|(_, group)| group.counts.events())
            .sum()
    }

    /// All together.
    pub(super) fn total(&self) -> Figures {
        let mut sum = Sum::default();
        self.groups().for_each(|(at, group)| sum.add(at, group, self.peak(group)));
        let mut figures = sum.finish();
        figures.counts.loss = self.fold.loss();
        (figures.live, figures.peak_live) = (self.fold.population.now, self.fold.population.most);
        figures
    }

    /// One row for each name of an owner. How many of them lived at one time is not known.
    pub(super) fn comms(&self) -> (Vec<Row>, u64) {
        let place = |group: &Group| match (group.key.side, group.key.owner) {
            (Side::Unborn, _) => None,
            (Side::Others, _) => Some(OTHERS_ROW),
            (_, None) => Some(NONE),
            (_, Some(owner)) => Some(owner.comm),
        };
        let mut ranks: HashMap<u32, Rank> = HashMap::new();
        for (_, group) in self.groups() {
            if let Some(at) = place(group) {
                rank(ranks.entry(at).or_default(), group);
            }
        }
        let (kept, folded) = most(ranks, OTHERS_ROW);
        let sums = self.sums(|group| Some(kept(place(group)?)));
        let row = |(at, sum): (u32, Sum)| {
            let name = match at {
                OTHERS_ROW => Name::Others,
                NONE => Name::Unknown,
                comm => Name::Comm(self.text(comm).unwrap_or_default()),
            };
            Row { name, figures: sum.finish() }
        };
        (sorted(sums.into_iter().map(row).collect()), folded)
    }

    /// What groups add up to, by the number of the row that `place` names.
    fn sums(&self, place: impl Fn(&Group) -> Option<u32>) -> HashMap<u32, Sum> {
        let mut sums: HashMap<u32, Sum> = HashMap::new();
        for (at, group) in self.groups() {
            if let Some(row) = place(group) {
                sums.entry(row).or_default().add(at, group, self.peak(group));
            }
        }
        sums
    }

    /// One row for each thing of a kind, and how many are not told apart.
    pub(super) fn table(&self, by: By) -> (Vec<Row>, u64) {
        let table = match by {
            By::Process => Table::Process,
            By::Peer => Table::Peer,
            By::Tuple => Table::Tuple,
            By::Port => Table::Port,
            By::Container => Table::Container,
            By::Netns => Table::Netns,
            By::Reason => return (self.reasons(), 0),
        };
        let Built { rows, folded } = self.rows(table);
        (sorted(rows.into_iter().map(|(_, row)| row).collect()), folded)
    }

    /// The same by number, in no order.
    pub(super) fn rows(&self, table: Table) -> Built {
        let all = &self.fold.groups.rows;
        let mut ranks: HashMap<u32, Rank> = HashMap::new();
        for (_, group) in self.groups() {
            if let Some(row) = group.row(table) {
                let place = ranks.entry(row).or_insert_with(|| (0, 0, 0, self.fold.groups.living(row).1));
                rank(place, group);
            }
        }
        let is_others = |row: &&u32| all.get(**row as usize).is_some_and(|row| row.key == RowKey::Others);
        let others = ranks.keys().find(is_others).copied().unwrap_or(OTHERS_ROW);
        let left_out: Vec<u32> =
            if ranks.len() > MOST_ROWS { ranks.keys().copied().collect() } else { Vec::new() };
        let (kept, folded) = most(ranks, others);
        let sums = self.sums(|group| Some(kept(group.row(table)?)));
        // Those that are not told apart live together; when most of them did, nobody knows, but there were so many at least.
        let folded_rows = left_out.into_iter().filter(|row| *row != others && kept(*row) == others);
        let living = folded_rows.chain([others]).map(|row| self.fold.groups.living(row));
        let living = living.fold((0, 0), |sum: (u64, u64), one| (sum.0 + one.0, sum.1.max(one.1)));
        let row = |(at, sum): (u32, Sum)| {
            let living =
                if at == others { (living.0, living.1.max(living.0)) } else { self.fold.groups.living(at) };
            Some((at, self.row(at, sum, table, living)?))
        };
        Built { rows: sums.into_iter().filter_map(row).collect(), folded }
    }

    /// Ports that a tuple's sockets hold at the end; `None` where it is not known which ports count.
    pub(super) fn held(&self, row: u32) -> Option<u32> {
        let row = self.fold.groups.rows.get(row as usize)?;
        let RowKey::Tuple { netns, .. } = row.key else { return None };
        self.ports.get(&netns)?;
        Some(self.fold.ports.now(row.ports()?))
    }

    /// Whose events a group has.
    pub(super) fn process(&self, group: &Group) -> Process {
        let Some(owner) = group.key.owner else { return Process::default() };
        Process {
            pid: Some(owner.pid),
            start_ns: owner.start,
            comm: self.text(owner.comm).unwrap_or_default(),
            exe: self.text(group.exe),
            container: self.text(owner.container),
        }
    }

    fn row(&self, at: u32, sum: Sum, table: Table, (live, peak_live): (u64, u64)) -> Option<Row> {
        let group = |at: Option<usize>| at.and_then(|at| self.fold.groups.all.get(at));
        let (main, latest) = (group(sum.main.map(|(_, at)| at)), group(sum.latest));
        let key = if at == OTHERS_ROW { RowKey::Others } else { self.fold.groups.rows.get(at as usize)?.key };
        let name = self.name(key, latest)?;
        let mut figures = Figures { live, peak_live, ..sum.finish() };
        match table {
            Table::Process => figures.target = main.and_then(|group| self.target(&group.key)),
            Table::Tuple | Table::Port => {
                figures.main = main.and_then(|group| group.key.owner).and_then(|owner| self.text(owner.comm));
            }
            Table::Peer | Table::Container | Table::Netns => {}
        }
        if table != Table::Process && table != Table::Tuple {
            figures.peak = None;
        }
        Some(Row { name, figures })
    }

    fn name(&self, key: RowKey, latest: Option<&Group>) -> Option<Name> {
        Some(match key {
            RowKey::None => return None,
            RowKey::Others => Name::Others,
            RowKey::Process { pid: 0, .. } => Name::Unknown,
            RowKey::Process { pid, start, comm } => {
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
            RowKey::Tuple { netns, saddr, daddr, port } => Name::Tuple(TupleKey {
                netns,
                saddr: self.address(saddr)?,
                daddr: self.address(daddr)?,
                dport: port,
            }),
            RowKey::Port { netns, port } => Name::Port(PortKey { netns, sport: port }),
            RowKey::Peer(address) => Name::Peer(self.address(address)?),
            RowKey::Container(NONE) => Name::Container(None),
            RowKey::Container(OTHERS) => Name::Others,
            RowKey::Container(name) => Name::Container(self.text(name)),
            RowKey::Netns(inode) => Name::Netns(inode, self.names.get(&inode).cloned()),
        })
    }

    fn target(&self, key: &Key) -> Option<Target> {
        match (key.tuple(), key.port()) {
            (RowKey::Tuple { netns, saddr, daddr, port }, _) => {
                let (saddr, daddr) = (self.address(saddr)?, self.address(daddr)?);
                Some(Target::Tuple(TupleKey { netns, saddr, daddr, dport: port }))
            }
            (_, RowKey::Port { netns, port }) => Some(Target::Port(PortKey { netns, sport: port })),
            _ => None,
        }
    }

    /// How full the tuple of a group was at the worst.
    fn peak(&self, group: &Group) -> Option<Peak> {
        let row = self.fold.groups.rows.get(group.row(Table::Tuple)? as usize)?;
        let Some(Name::Tuple(tuple)) = self.name(row.key, None) else { return None };
        let most = self.fold.ports.most(row.ports()?);
        let ports = *self.ports.get(&tuple.netns)?;
        (most.ports != 0).then_some(Peak { tuple, ports_in_use: most.ports, ports, at_ns: most.at_ns })
    }

    fn reasons(&self) -> Vec<Row> {
        let mut counts = [0; Reason::ALL.len()];
        for (_, group) in self.groups() {
            counts.iter_mut().zip(group.counts.ended_by).for_each(|(sum, part)| *sum += part);
        }
        let met = Reason::ALL.iter().filter(|reason| counts[**reason as usize] != 0);
        let mut rows: Vec<Row> = met
            .map(|reason| {
                let mut figures = Figures::default();
                figures.counts.ended_by[*reason as usize] = counts[*reason as usize];
                figures.lifetime_ms = self.fold.lifetimes[*reason as usize].percentiles();
                Row { name: Name::Reason(*reason), figures }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.figures.counts.ended()));
        rows
    }

    /// Stretch by stretch.
    pub(super) fn timeline(&self) -> Timeline {
        let line = &self.fold.timeline;
        let every_ns = line.width_ns();
        let moment = |(at, stretch): (usize, &super::fold::timeline::Stretch)| {
            let count = |count: Count| stretch.counts[count as usize];
            Moment {
                at_ns: self.fold.began_ns.saturating_add(every_ns.saturating_mul(at as u64)),
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
        if id == OTHERS {
            Some("(others)".to_owned())
        } else {
            self.fold.texts.get(id).map(|text| text.to_string())
        }
    }

    fn address(&self, id: u32) -> Option<IpAddr> {
        self.fold.addresses.get(id).map(|Address(address)| *address)
    }
}

fn rank(rank: &mut Rank, group: &Group) {
    let counts = &group.counts;
    rank.0 += counts.created;
    rank.1 += counts.overflow + counts.connect_failed + counts.bind_failed;
    rank.2 += counts.ended();
}

/// Where each row goes: the first [`MOST_ROWS`] to themselves, all others to `others`; and how many those are.
fn most(ranks: HashMap<u32, Rank>, others: u32) -> (impl Fn(u32) -> u32, u64) {
    let mut told: Vec<(Rank, std::cmp::Reverse<u32>)> = Vec::new();
    if ranks.len() > MOST_ROWS {
        told = ranks.into_iter().map(|(row, rank)| (rank, std::cmp::Reverse(row))).collect();
        told.retain(|(_, row)| row.0 != others);
        told.sort_unstable_by(|a, b| b.cmp(a));
    }
    let folded = told.len().saturating_sub(MOST_ROWS) as u64;
    let is_told: Option<HashSet<u32>> =
        (folded != 0).then(|| told.iter().take(MOST_ROWS).map(|(_, row)| row.0).collect());
    (move |row| if is_told.as_ref().is_none_or(|told| told.contains(&row)) { row } else { others }, folded)
}

/// Most created first, then most failed, most ended, most alive; the name makes it certain.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    let rank = |row: &Row| {
        let Figures { counts, peak_live, .. } = &row.figures;
        (counts.created, row.figures.failed(), counts.ended(), *peak_live)
    };
    rows.sort_by(|a, b| {
        let others = |row: &Row| row.name == Name::Others;
        others(a).cmp(&others(b)).then_with(|| rank(b).cmp(&rank(a))).then_with(|| a.name.cmp(&b.name))
    });
    rows
}
