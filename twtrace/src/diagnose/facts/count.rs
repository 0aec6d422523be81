//! Owns: what the engine counted as facts: what came and went on each pool and port, and whose it was.
//! Must not know: where events came from, rules.

use std::collections::HashMap;

use super::told::Told;
use super::{Habits, Netns, Process, Served, Share, Tuple};
use crate::engine::failures::{Caller, caller};
use crate::engine::groups::{Group, Table};
use crate::engine::key::RowId;
use crate::engine::ledger::PoolId;
use crate::engine::{Counts, Engine, Figures, Index, PortKey, Target};
use crate::model::ordering::Ordered as _;

/// Namespaces that are looked at. Each takes a kilobyte and more, and rules go through all of them.
pub(crate) const MOST_NETNS: usize = 8192;

/// What is made of the groups of one row.
struct Sums {
    counts: Counts,
    shares: Vec<(Caller, Share)>,
}

/// The namespaces that were heard of, without what only the kernel's lists, or the head of a recording, can tell; and how many of them
/// are left out: those in which least happened.
pub(crate) fn namespaces(engine: &Engine) -> (Vec<Netns>, usize) {
    let maker = Maker { engine, told: Told::of(engine), habits: habits_of_all(engine) };
    let (mut all, mut indexes) = (Vec::new(), HashMap::new());
    let netns = Index::of(engine, Table::Netns);
    let (rows, left_out) = busiest(engine, &netns);
    for row in rows {
        let RowId::Netns(inode) = engine.groups.rows[row as usize].id else { continue };
        indexes.insert(inode, all.len());
        all.push(maker.namespace(inode, row, netns.groups(row)));
    }
    let tuples = Index::of(engine, Table::Tuple);
    for row in tuples.rows() {
        let Some((netns, tuple)) = maker.tuple(row, tuples.groups(row)) else { continue };
        if let Some(at) = indexes.get(&netns) {
            all[*at].tuples.push(tuple);
        }
    }
    let ports = Index::of(engine, Table::Port);
    for row in ports.rows() {
        let Some((netns, served)) = maker.served(row, ports.groups(row)) else { continue };
        if let Some(at) = indexes.get(&netns) {
            all[*at].server_time_wait += served.time_wait;
            all[*at].served.push(served);
        }
    }
    for netns in &mut all {
        netns
            .tuples
            .order_by_key(|tuple: &Tuple| (std::cmp::Reverse(tuple.now.all()), tuple.key(netns.netns)));
        netns.served.order_by_key(|served| (std::cmp::Reverse(served.time_wait), served.port));
    }
    (all, left_out)
}

/// Rows of the namespaces in which most happened, and how many others there are.
fn busiest(engine: &Engine, netns: &Index) -> (Vec<u32>, usize) {
    let happened = |row: u32| {
        let groups = netns.groups(row).iter().map(|at| engine.group(*at));
        let all = groups.map(|group| (group.failed(), group.counts.events() + group.counts.listed));
        std::cmp::Reverse(all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
    };
    let mut rows: Vec<u32> = netns.rows().collect();
    let left_out = rows.len().saturating_sub(MOST_NETNS);
    if left_out != 0 {
        rows.sort_by_cached_key(|row| (happened(*row), *row));
        rows.truncate(MOST_NETNS);
    }
    (rows, left_out)
}

struct Maker<'a> {
    engine: &'a Engine,
    told: Told<'a>,
    /// What the connections of each process are like.
    habits: HashMap<Caller, Habits>,
}

impl Maker<'_> {
    fn namespace(&self, netns: u32, row: u32, of: &[u32]) -> Netns {
        let (told, counts) = (&self.told, self.sums(of, |_, _| 0).counts);
        let (time_wait, peak_time_wait) = self.engine.groups.living(row);
        let concerned = told.concerned(netns).into_iter();
        Netns {
            netns,
            settings: self.engine.pools.told(netns).map(|told| told.settings.clone()).unwrap_or_default(),
            time_wait,
            peak_time_wait,
            created: counts.created,
            overflow: counts.overflow,
            reset: told.resets(netns),
            concerned: concerned
                .map(|(caller, share)| Share { habits: self.habits.get(&caller).copied(), ..share })
                .collect(),
            binds: told.binds(netns),
            refusals: told.refusals(netns),
            aborted: told.aborted(netns),
            syn_refused: told.syn_refused(netns),
            ..Netns::default()
        }
    }

    /// A pool, and the namespace that it is in.
    fn tuple(&self, row: u32, of: &[u32]) -> Option<(u32, Tuple)> {
        let known = self.engine.groups.rows.get(row as usize)?;
        let RowId::Tuple { netns, saddr, daddr, port } = known.id else { return None };
        let Target::Tuple(key) = self.engine.target(row)? else { return None };
        let pool = PoolId { netns, saddr, daddr, dport: port };
        let sums = self.sums(of, |caller, _| self.told.failed_by(&pool, caller));
        let (live, peak_live) = self.engine.groups.living(row);
        let pools = &self.engine.pools;
        let in_use = match pools.told(netns).and(known.pool()) {
            Some(pool) => pools.now(pool) + pools.others(pool),
            None => live as u32,
        };
        let mut tuple = Tuple::counted(&key, &sums.counts, (live, peak_live), in_use);
        tuple.failed_bound = self.told.failed_bound(&pool);
        tuple.failed = tuple.failed.saturating_sub(tuple.failed_bound + self.told.failed_otherwise(&pool));
        tuple.shares = sums.shares.into_iter().map(|(_, share)| share).collect();
        Some((netns, tuple))
    }

    /// A port, and the namespace that it is in.
    fn served(&self, row: u32, of: &[u32]) -> Option<(u32, Served)> {
        let Target::Port(PortKey { netns, sport }) = self.engine.target(row)? else { return None };
        let sums = self.sums(of, |caller, _| self.told.not_bound_by(netns, sport, caller));
        let time_wait = self.engine.groups.living(row).0;
        let shares = sums.shares.into_iter().map(|(_, share)| share).collect();
        Some((netns, Served { port: sport, time_wait, shares, ..Served::default() }))
    }

    /// What some groups come to, process by process. `failed` says how many calls of a process failed.
    fn sums(&self, of: &[u32], failed: impl Fn(&Caller, &Group) -> u64) -> Sums {
        let (mut counts, mut shares, mut indexes) = (Counts::default(), Vec::new(), HashMap::new());
        for group in of.iter().map(|at| self.engine.group(*at)) {
            counts.take_over(&group.counts);
            let who = caller(group.key.owner.filter(|owner| !owner.is_forgotten()));
            let at = *indexes.entry(who).or_insert_with(|| {
                let process = self.told.process(group.key.owner.map(|owner| (owner, group.exe)));
                let habits = self.habits.get(&who).copied();
                shares
                    .push((who, Share { process, habits, failed: failed(&who, group), ..Share::default() }));
                shares.len() - 1
            });
            let share = &mut shares[at].1;
            share.created += group.counts.created;
            share.time_wait += u64::from(group.live);
        }
        shares.retain(|(_, share)| share.time_wait + share.created + share.failed != 0);
        shares.order_by(|(_, a), (_, b)| {
            let rank = |share: &Share| std::cmp::Reverse((share.time_wait, share.created, share.failed));
            rank(a).cmp(&rank(b)).then_with(|| a.process.cmp(&b.process))
        });
        Sums { counts, shares }
    }
}

fn habits_of_all(engine: &Engine) -> HashMap<Caller, Habits> {
    let index = Index::of(engine, Table::Process);
    let known = index.rows().filter_map(|row| match engine.groups.rows[row as usize].id {
        RowId::Process { pid, start, comm } if pid != 0 => {
            Some(((pid, start, comm), habits(&engine.figures(index.groups(row), 0))))
        }
        _ => None,
    });
    known.collect()
}

fn habits(figures: &Figures) -> Habits {
    Habits {
        as_client: figures.client,
        as_server: figures.server,
        age_us: figures.age_us.map(|age| age.p50),
        sent: figures.sent.map(|sent| sent.p50),
        received: figures.received.map(|received| received.p50),
    }
}

/// Whose it is, where nothing but the name of a process is known.
pub(super) fn named(key: &crate::engine::ProcessKey) -> Process {
    Process {
        pid: Some(key.pid),
        start_ns: key.start_ns,
        comm: key.comm.text().into_owned(),
        ..Process::default()
    }
}
