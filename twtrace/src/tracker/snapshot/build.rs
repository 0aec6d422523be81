//! Owns: how the tracker's tables become rows.
//! Must not know: who asked.

use std::collections::HashMap;
use std::net::IpAddr;

use super::*;
use crate::event::Role;
use crate::tracker::history::Flow;
use crate::tracker::keys::{By, RowKey};
use crate::tracker::pattern::Evidence;
use crate::tracker::pressure::Pool;
use crate::tracker::rows::{Link, LinkKey, TupleStats};
use crate::tracker::{SECOND_NS, Tracker, arena::Hasher};

/// What counts as the present when pressure is told, in seconds.
const RECENT_S: u32 = 10;

impl Figures {
    /// At the beginning of second `now`.
    fn of(stats: &Stats, now: u32) -> Self {
        Self {
            counts: stats.counts,
            live: stats.live,
            peak_live: stats.peak_live,
            client: stats.created_as(Role::Client),
            server: stats.created_as(Role::Server),
            fin_wait2: stats.fin_wait2,
            fin_wait2_expired: stats.fin_wait2_expired,
            created_rate: stats.history.rates(Flow::Created, now),
            ended_rate: stats.history.rates(Flow::Ended, now),
            failed_rate: stats.history.rates(Flow::Failed, now),
            age_us: stats.age_us.percentiles(),
            sent: stats.sent.percentiles(),
            received: stats.received.percentiles(),
            first_ns: stats.first_ns,
            last_ns: stats.last_ns,
        }
    }
}

/// What a process deals with, gathered from its links.
#[derive(Default)]
struct Dealings {
    main: Option<LinkRow>,
    targets: usize,
    starved: u64,
    pressure: Option<Pressure>,
}

/// Whether `a` matters more than `b`; the key makes it certain.
fn matters_more(a: &LinkRow, b: &LinkRow) -> bool {
    (a.live, a.created, a.failed, b.target, b.process) > (b.live, b.created, b.failed, a.target, a.process)
}

fn hotter(a: Pressure, b: Option<Pressure>) -> bool {
    b.is_none_or(|b| a.fraction() > b.fraction())
}

/// Most live first, then most created, then by key.
fn order<R, K: Ord>(rows: &mut [R], figures: impl Fn(&R) -> &Figures, key: impl Fn(&R) -> K) {
    rows.sort_unstable_by(|a, b| {
        let rank = |row| (figures(row).live, figures(row).counts.created, figures(row).failed());
        rank(b).cmp(&rank(a)).then_with(|| key(a).cmp(&key(b)))
    });
}

impl Tracker {
    /// The world now. Only the tables in `wanted` are filled; the head always is.
    pub fn snapshot(&self, wanted: &[By]) -> Snapshot {
        let now = self.second(self.now_ns);
        let links = self.link_rows(|_| true);
        let holders = holders(&links);
        let mut snapshot = Snapshot {
            now_ns: self.now_ns,
            began_ns: self.began_ns.unwrap_or(self.now_ns),
            total: Figures::of(&self.total, now),
            created_history: self.total.history.series(Flow::Created, now),
            ended_history: self.total.history.series(Flow::Ended, now),
            fullest: self.fullest(),
            hottest: self.hottest(&holders, now),
            dropped: self.dropped(),
            ..Snapshot::default()
        };
        for by in wanted {
            match by {
                By::Process => snapshot.processes = self.process_rows(&links, now),
                By::Tuple => snapshot.tuples = self.tuple_rows(&holders, now),
                By::Peer => snapshot.peers = self.peer_rows(now),
                By::Port => snapshot.ports = self.port_rows(&holders, now),
                By::Container => snapshot.containers = self.container_rows(now),
                By::Netns => snapshot.netns = self.netns_rows(now),
            }
        }
        snapshot
    }

    /// What the bounds made it drop.
    pub fn dropped(&self) -> Dropped {
        Dropped { rows: self.rows.evicted(), events: self.unlisted, sockets: self.dropped_sockets }
    }

    fn link_rows(&self, wanted: impl Fn(&LinkKey) -> bool) -> Vec<LinkRow> {
        let now = self.second(self.now_ns);
        let links = self.rows.links.iter().filter(|(key, _)| wanted(key));
        links.map(|(key, link)| self.link_row(key, link, now)).collect()
    }

    fn link_row(&self, key: &LinkKey, link: &Link, now: u32) -> LinkRow {
        let pressure = match &key.target {
            Target::Tuple(tuple) => {
                self.rows.tuples.find(tuple).and_then(|row| self.pressure(tuple, row, now))
            }
            Target::Port(_) => None,
        };
        let Link { created, failed, starved, .. } = *link;
        let live = u64::from(link.live);
        LinkRow { process: key.process, target: key.target, live, created, failed, starved, pressure }
    }

    fn pressure(&self, key: &TupleKey, row: &TupleStats, now: u32) -> Option<Pressure> {
        let ports = self.rows.netns.find(&key.netns)?.capacity.as_ref()?.ports;
        let rate = |flow| row.stats.history.rate(flow, now, RECENT_S);
        let reused_ns = row.reused_ns.map_or(u64::MAX, |reused_ns| self.now_ns.saturating_sub(reused_ns));
        Some(Pressure::new(&Pool {
            time_wait: row.ephemeral,
            others: row.others,
            ports,
            created: rate(Flow::Created),
            ended: rate(Flow::Ended),
            is_reused: reused_ns < u64::from(RECENT_S) * SECOND_NS,
        }))
    }

    fn name(&self, key: Option<ProcessKey>) -> Comm {
        key.and_then(|key| self.rows.processes.find(&key)).map(|row| row.name).unwrap_or_default()
    }

    fn process_rows(&self, links: &[LinkRow], now: u32) -> Vec<ProcessRow> {
        let mut dealings: HashMap<ProcessKey, Dealings, Hasher> = HashMap::default();
        for link in links {
            let known = dealings.entry(link.process).or_default();
            known.targets += 1;
            known.starved += link.starved;
            if known.main.as_ref().is_none_or(|main| matters_more(link, main)) {
                known.main = Some(*link);
            }
            if let Some(pressure) = link.pressure.filter(|pressure| hotter(*pressure, known.pressure)) {
                known.pressure = Some(pressure);
            }
        }
        let rows = self.rows.processes.iter().map(|(key, row)| {
            let Dealings { main, targets, starved, pressure } = dealings.remove(key).unwrap_or_default();
            let pattern = Pattern::of(&Evidence::of(&row.stats, starved, pressure));
            let figures = Figures::of(&row.stats, now);
            let (name, uid, identity, gone) = (row.name, row.uid, row.identity.clone(), row.gone);
            ProcessRow { key: *key, name, uid, identity, gone, figures, main, targets, pressure, pattern }
        });
        let mut rows: Vec<ProcessRow> = rows.collect();
        order(&mut rows, |row| &row.figures, |row| row.key);
        rows
    }

    fn tuple_row(&self, key: &TupleKey, row: &TupleStats, holders: &Holders, now: u32) -> TupleRow {
        let main = holders.get(&Target::Tuple(*key)).map(|link| link.process);
        let (figures, pressure) = (Figures::of(&row.stats, now), self.pressure(key, row, now));
        TupleRow { key: *key, figures, pressure, main, main_name: self.name(main) }
    }

    fn tuple_rows(&self, holders: &Holders, now: u32) -> Vec<TupleRow> {
        let rows = self.rows.tuples.iter().map(|(key, row)| self.tuple_row(key, row, holders, now));
        let mut rows: Vec<TupleRow> = rows.collect();
        order(&mut rows, |row| &row.figures, |row| row.key);
        rows
    }

    fn hottest(&self, holders: &Holders, now: u32) -> Option<TupleRow> {
        let pools =
            self.rows.tuples.iter().filter_map(|(key, row)| Some((key, row, self.pressure(key, row, now)?)));
        let busy = pools.filter(|(.., pressure)| pressure.in_use != 0);
        let rank = |key: &TupleKey, pressure: &Pressure| (pressure.fraction(), std::cmp::Reverse(*key));
        let found = busy.max_by(|(a, _, p), (b, _, q)| {
            let ((p, a), (q, b)) = (rank(a, p), rank(b, q));
            p.total_cmp(&q).then_with(|| a.cmp(&b))
        });
        found.map(|(key, row, _)| self.tuple_row(key, row, holders, now))
    }

    fn peer_rows(&self, now: u32) -> Vec<PeerRow> {
        let rows = self.rows.peers.iter();
        let mut rows: Vec<PeerRow> =
            rows.map(|(key, stats)| PeerRow { key: *key, figures: Figures::of(stats, now) }).collect();
        order(&mut rows, |row| &row.figures, |row| row.key);
        rows
    }

    fn port_rows(&self, holders: &Holders, now: u32) -> Vec<PortRow> {
        let rows = self.rows.ports.iter().map(|(key, stats)| {
            let main = holders.get(&Target::Port(*key)).map(|link| link.process);
            PortRow { key: *key, figures: Figures::of(stats, now), main, main_name: self.name(main) }
        });
        let mut rows: Vec<PortRow> = rows.collect();
        order(&mut rows, |row| &row.figures, |row| row.key);
        rows
    }

    fn container_rows(&self, now: u32) -> Vec<ContainerRow> {
        let rows = self.rows.containers.iter();
        let mut rows: Vec<ContainerRow> = rows
            .map(|(key, stats)| ContainerRow { key: key.clone(), figures: Figures::of(stats, now) })
            .collect();
        order(&mut rows, |row| &row.figures, |row| row.key.as_ref().map(ToString::to_string));
        rows
    }

    fn netns_rows(&self, now: u32) -> Vec<NetnsRow> {
        let rows = self.rows.netns.iter().map(|(key, row)| {
            let (figures, capacity) = (Figures::of(&row.stats, now), row.capacity.clone());
            NetnsRow { key: *key, figures, capacity }
        });
        let mut rows: Vec<NetnsRow> = rows.collect();
        order(&mut rows, |row| &row.figures, |row| row.key);
        rows
    }

    fn fullest(&self) -> Option<Fullest> {
        let known = self.rows.netns.iter().filter_map(|(netns, row)| {
            let max_tw_buckets = row.capacity.as_ref()?.max_tw_buckets;
            Some(Fullest { netns: *netns, live: row.stats.live, max_tw_buckets })
        });
        // a/b > c/d without dividing by a limit that may be 0.
        known.max_by_key(|row| {
            (
                row.live * u64::from(u32::MAX) / u64::from(row.max_tw_buckets.max(1)),
                std::cmp::Reverse(row.netns),
            )
        })
    }

    /// Everything about one row; `None` where there is no such row.
    pub fn detail(&self, key: &RowKey) -> Option<Detail> {
        let now = self.second(self.now_ns);
        let stats = self.stats(key)?.clone();
        let mut links = self.link_rows(|link| self.concerns(link, key));
        links.sort_unstable_by(|a, b| {
            if matters_more(a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
        });
        Some(Detail {
            created_history: stats.history.series(Flow::Created, now),
            ended_history: stats.history.series(Flow::Ended, now),
            stats,
            links,
            peers: self.peers_of(key),
        })
    }

    fn stats(&self, key: &RowKey) -> Option<&Stats> {
        match key {
            RowKey::Process(key) => self.rows.processes.find(key).map(|row| &row.stats),
            RowKey::Tuple(key) => self.rows.tuples.find(key).map(|row| &row.stats),
            RowKey::Peer(key) => self.rows.peers.find(key),
            RowKey::Port(key) => self.rows.ports.find(key),
            RowKey::Netns(key) => self.rows.netns.find(key).map(|row| &row.stats),
            RowKey::Container(name) => {
                let named = |key: &Option<Container>| key.as_ref().map(ToString::to_string) == *name;
                self.rows.containers.iter().find(|(key, _)| named(key)).map(|(_, stats)| stats)
            }
        }
    }

    fn concerns(&self, link: &LinkKey, key: &RowKey) -> bool {
        match (key, &link.target) {
            (RowKey::Process(process), _) => link.process == *process,
            (RowKey::Tuple(tuple), Target::Tuple(target)) => target == tuple,
            (RowKey::Peer(peer), Target::Tuple(target)) => target.daddr == *peer,
            (RowKey::Port(port), Target::Port(target)) => target == port,
            (RowKey::Netns(netns), Target::Tuple(target)) => target.netns == *netns,
            (RowKey::Netns(netns), Target::Port(target)) => target.netns == *netns,
            (RowKey::Container(name), _) => self.container_name(&link.process).as_ref() == Some(name),
            _ => false,
        }
    }

    /// `None`: nobody knows; `Some(None)`: the host.
    fn container_name(&self, process: &ProcessKey) -> Option<Option<String>> {
        let identity = self.rows.processes.find(process)?.identity.as_ref()?;
        identity.cgroup.as_ref()?;
        Some(identity.container.as_ref().map(ToString::to_string))
    }

    fn peers_of(&self, key: &RowKey) -> Vec<(IpAddr, u64)> {
        if !matches!(key, RowKey::Process(_) | RowKey::Port(_)) {
            return Vec::new();
        }
        let mut peers: HashMap<IpAddr, u64, Hasher> = HashMap::default();
        for (conn, entry) in self.live.iter() {
            if self.rows.links.get(entry.link).is_some_and(|(link, _)| self.concerns(link, key)) {
                *peers.entry(conn.daddr).or_default() += 1;
            }
        }
        let mut peers: Vec<(IpAddr, u64)> = peers.into_iter().collect();
        peers.sort_unstable_by_key(|(peer, count)| (std::cmp::Reverse(*count), *peer));
        peers
    }
}

type Holders = HashMap<Target, LinkRow, Hasher>;

/// Who mainly deals with each thing.
fn holders(links: &[LinkRow]) -> Holders {
    let mut holders = Holders::default();
    for link in links {
        let known = holders.entry(link.target).or_insert(*link);
        if matters_more(link, known) {
            *known = *link;
        }
    }
    holders
}
