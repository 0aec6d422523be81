//! Owns: everything about one row.
//! Must not know: who asked.

use std::collections::HashMap;
use std::net::IpAddr;

use super::survey::{Survey, hotter};
use super::*;
use crate::tracker::Tracker;
use crate::tracker::arena::Hasher;
use crate::tracker::history::Flow;
use crate::tracker::keys::RowKey;
use crate::tracker::pattern::Evidence;
use crate::tracker::rows::LinkKey;

impl Tracker {
    /// Everything about one row; `None` where there is no such row.
    pub fn detail(&self, key: &RowKey) -> Option<Detail> {
        let survey = Survey::of(self, &[]);
        let stats = self.stats(key)?.clone();
        let concerned = self.rows.links.iter().filter(|(link, _)| self.concerns(link, key));
        let mut links: Vec<LinkRow> = concerned.map(|(link, row)| survey.link_row(link, row)).collect();
        links.sort_unstable_by(|a, b| {
            let rank = |link: &LinkRow| std::cmp::Reverse((link.live, link.created, link.failed));
            let name = |link: &LinkRow| (link.target, link.process);
            rank(a).cmp(&rank(b)).then_with(|| name(a).cmp(&name(b)))
        });
        let starved = links.iter().map(|link| link.starved).sum();
        let pressures = links.iter().filter_map(|link| link.pressure);
        let pressure = pressures.reduce(|a, b| if hotter(b, Some(a)) { b } else { a });
        let process = match key {
            RowKey::Process(key) => self.rows.processes.find(key),
            _ => None,
        };
        Some(Detail {
            name: process.map(|row| row.name).unwrap_or_default(),
            gone: process.is_some_and(|row| row.gone),
            identity: process.and_then(|row| row.identity.clone()),
            pattern: Pattern::of(&Evidence::of(&stats, starved, pressure)),
            created_history: stats.history.series(Flow::Created, survey.now),
            ended_history: stats.history.series(Flow::Ended, survey.now),
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
