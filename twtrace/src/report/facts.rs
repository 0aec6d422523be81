//! Owns: what was counted in a recording as the doctor's facts, so that a report shows what `twtrace doctor FILE` finds.
//! Must not know: rules, how findings are shown.

use std::collections::HashMap;

use super::build::Builder;
use super::fold::{Group, Table};
use super::model::{By, Figures, Name, Row};
use crate::doctor::facts::tally::Tally;
use crate::doctor::facts::{Habits, Netns, Process, Served, Share, Tuple};

/// Rows of a table by number, each with those who have a part in it.
type Parts = HashMap<u32, Vec<Share>>;

/// Every namespace of the recording, without what the recording itself says of it.
pub(super) fn namespaces(builder: &Builder<'_>, tally: &Tally) -> Vec<Netns> {
    let people = People::new(&builder.table(By::Process).0);
    let mut all: Vec<Netns> =
        builder.table(By::Netns).0.iter().filter_map(|row| namespace(row, tally, &people)).collect();
    let places: HashMap<u32, usize> = all.iter().enumerate().map(|(at, netns)| (netns.netns, at)).collect();
    let mut parts = [Table::Tuple, Table::Port].map(|table| shares(builder, table, &people));
    for (at, row) in builder.rows(Table::Tuple).rows {
        let Name::Tuple(key) = row.name else { continue };
        let Some(netns) = places.get(&key.netns).and_then(|at| all.get_mut(*at)) else { continue };
        let held = builder.held(at).unwrap_or(row.figures.live as u32);
        let shares = completed(parts[0].remove(&at), row.figures.live);
        let failed_bound = tally.failed_bound(&key);
        let Figures { counts, live, peak_live, .. } = &row.figures;
        let counted = Tuple::counted(&key, counts, (*live, *peak_live), held);
        let failed = counted.failed.saturating_sub(failed_bound + tally.failed_otherwise(&key));
        netns.tuples.push(Tuple { failed, failed_bound, shares, ..counted });
    }
    for (at, row) in builder.rows(Table::Port).rows {
        let Name::Port(key) = row.name else { continue };
        let Some(netns) = places.get(&key.netns).and_then(|at| all.get_mut(*at)) else { continue };
        let time_wait = row.figures.live;
        netns.server_time_wait += time_wait;
        let shares = completed(parts[1].remove(&at), time_wait);
        netns.served.push(Served { port: key.sport, time_wait, shares, ..Served::default() });
    }
    all
}

fn namespace(row: &Row, tally: &Tally, people: &People) -> Option<Netns> {
    let Name::Netns(netns, name) = &row.name else { return None };
    let figures = &row.figures;
    let (mut concerned, mut binds) = (tally.concerned(*netns), tally.binds(*netns));
    for share in &mut concerned {
        people.complete(&mut share.process);
        share.habits = people.habits(&share.process);
    }
    binds.iter_mut().for_each(|bind| people.complete(&mut bind.caller));
    let mut refusals = tally.refusals(*netns);
    refusals.iter_mut().for_each(|refusal| people.complete(&mut refusal.caller));
    let mut aborted = tally.aborted(*netns);
    aborted.iter_mut().for_each(|aborted| people.complete(&mut aborted.process));
    Some(Netns {
        netns: *netns,
        aborted,
        syn_refused: tally.syn_refused(*netns),
        name: name.clone(),
        time_wait: figures.live,
        peak_time_wait: figures.peak_live,
        created: figures.counts.created,
        overflow: figures.counts.overflow,
        reset: tally.resets(*netns),
        concerned,
        binds,
        refusals,
        ..Netns::default()
    })
}

/// Who has a part in which row of a table.
fn shares(builder: &Builder<'_>, table: Table, people: &People) -> Parts {
    let mut parts = Parts::new();
    let mut places = HashMap::new();
    for (_, group) in builder.groups() {
        let Some(row) = group.row(table) else { continue };
        let all = parts.entry(row).or_default();
        let who = group.key.owner.map(|owner| (owner.pid, owner.start, owner.comm));
        let at = *places.entry((row, who)).or_insert_with(|| {
            let process = builder.process(group);
            let habits = people.habits(&process);
            all.push(Share { process, habits, ..Share::default() });
            all.len() - 1
        });
        add(&mut all[at], group);
    }
    parts
}

fn add(share: &mut Share, group: &Group) {
    let counts = &group.counts;
    share.created += counts.created;
    share.failed += counts.connect_failed + counts.bind_failed;
    share.time_wait += (counts.created + counts.listed).saturating_sub(counts.ended());
}

/// Sockets that live and that nobody here has made were there before: nobody knows whose they are.
fn completed(shares: Option<Vec<Share>>, live: u64) -> Vec<Share> {
    let mut shares = shares.unwrap_or_default();
    let known: u64 = shares.iter().map(|share| share.time_wait).sum();
    let rest = live.saturating_sub(known);
    if rest != 0 {
        match shares.iter_mut().find(|share| share.process == Process::default()) {
            Some(share) => share.time_wait += rest,
            None => shares.push(Share { time_wait: rest, ..Share::default() }),
        }
    }
    shares.sort_by(|a, b| {
        (b.time_wait, b.created, b.failed, &a.process).cmp(&(a.time_wait, a.created, a.failed, &b.process))
    });
    shares
}

/// Each process by pid, start and name: what is known of it, and what its connections are like.
struct People(HashMap<(u32, u64, String), (Process, Habits)>);

impl People {
    fn new(rows: &[Row]) -> Self {
        let known = rows.iter().filter_map(|row| {
            let Name::Process { pid, start_ns, comm, exe, container, .. } = row.name.clone() else {
                return None;
            };
            let key = (pid, start_ns, comm.clone());
            Some((key, (Process { pid: Some(pid), start_ns, comm, exe, container }, habits(&row.figures))))
        });
        Self(known.collect())
    }

    fn find(&self, process: &Process) -> Option<&(Process, Habits)> {
        self.0.get(&(process.pid?, process.start_ns, process.comm.clone()))
    }

    fn habits(&self, process: &Process) -> Option<Habits> {
        self.find(process).map(|(_, habits)| *habits)
    }

    fn complete(&self, process: &mut Process) {
        if let Some((known, _)) = self.find(process) {
            process.clone_from(known);
        }
    }
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
