//! Owns: everything about one row.
//! Must not know: who asked.

use std::net::IpAddr;

use super::survey::{LinkSum, Survey, hotter};
use super::*;
use crate::engine::Tracker;
use crate::engine::groups::{Group, Table};
use crate::engine::history::{Flow, series};
use crate::engine::intern::{Hasher, NONE};
use crate::engine::key::RowId;
use crate::engine::keys::RowKey;
use crate::engine::pattern::Evidence;

impl Tracker {
    /// Everything about one row; `None` where there is no such row.
    pub fn detail(&self, key: &RowKey) -> Option<Detail> {
        self.detail_of(&self.survey(), key)
    }

    /// As [`Tracker::detail`], of a survey that was made.
    pub fn detail_of(&self, survey: &Survey<'_>, key: &RowKey) -> Option<Detail> {
        let (table, row) = self.row_named(key)?;
        let of = survey.indexes.of(table).groups(row);
        let groups = || of.iter().map(|at| self.engine.group(*at));
        let links = self.links_of(groups(), survey);
        let starved = links.iter().map(|link| link.starved).sum();
        let pressures = links.iter().filter_map(|link| link.pressure);
        let pressure = pressures.reduce(|a, b| if hotter(b, Some(a)) { b } else { a });
        let (live, peak_live) = self.engine.groups.living(row);
        let figures = Figures { live, peak_live, ..self.engine.figures(of, survey.now) };
        let sum = |pick: fn(&Group) -> &Spread| {
            let mut sum = Spread::default();
            groups().for_each(|group| sum.merge(pick(group)));
            sum
        };
        let history = |flow| series(groups().map(|group| &group.history), flow, survey.now);
        Some(Detail {
            now_ns: self.now_ns,
            inferred: survey.inferences(),
            gone: self.engine.groups.rows[row as usize].gone,
            identity: match key {
                RowKey::Process(key) => self.owners.identity(key),
                _ => None,
            },
            pattern: Pattern::of(&Evidence::of(&figures, starved, pressure)),
            age_us: sum(|group| &group.age_us),
            sent: sum(|group| &group.sent),
            received: sum(|group| &group.received),
            created_history: history(Flow::Created),
            ended_history: history(Flow::Ended),
            links,
            peers: if matches!(key, RowKey::Process(_) | RowKey::Port(_)) {
                self.peers_of(groups())
            } else {
                Vec::new()
            },
            figures,
        })
    }

    /// The table and the number of a row.
    pub(super) fn row_named(&self, key: &RowKey) -> Option<(Table, u32)> {
        let engine = &self.engine;
        let (table, id) = match key {
            RowKey::Process(key) => {
                // Few have its pid: names are looked up of those alone.
                let of_pid = |id: RowId| matches!(id, RowId::Process { pid, .. } if pid == key.pid);
                let mut rows = (0..).zip(&engine.groups.rows).filter(|(_, row)| of_pid(row.id));
                let same = rows.find(|(at, _)| engine.process_key(*at) == Some(*key));
                return same.map(|(at, _)| (Table::Process, at));
            }
            RowKey::Tuple(key) => {
                let (saddr, daddr) = (engine.met_address(key.saddr)?, engine.met_address(key.daddr)?);
                (Table::Tuple, RowId::Tuple { netns: key.netns, saddr, daddr, port: key.dport })
            }
            RowKey::Peer(peer) => (Table::Peer, RowId::Peer(engine.met_address(*peer)?)),
            RowKey::Port(key) => (Table::Port, RowId::Port { netns: key.netns, port: key.sport }),
            RowKey::Container(None) => (Table::Container, RowId::Container(NONE)),
            RowKey::Container(Some(name)) => {
                (Table::Container, RowId::Container(engine.texts.find(name.as_str())?))
            }
            RowKey::Netns(inode) => (Table::Netns, RowId::Netns(*inode)),
        };
        engine.groups.find_row(table, id).map(|row| (table, row))
    }

    /// Which processes deal with what in some groups.
    fn links_of<'a>(&self, groups: impl Iterator<Item = &'a Group>, survey: &Survey<'_>) -> Vec<LinkRow> {
        let mut sums: HashMap<u32, LinkSum, Hasher> = HashMap::default();
        for group in groups {
            let Some(link) = group.row(Table::Link) else { continue };
            let sum = sums.entry(link).or_default();
            sum.live += u64::from(group.live);
            sum.created += group.counts.created;
            sum.failed += group.failed();
            sum.starved += group.starved;
        }
        let mut links: Vec<LinkRow> =
            sums.iter().filter_map(|(link, sum)| survey.link_row(*link, sum)).collect();
        links.sort_by(|a, b| {
            let rank = |link: &LinkRow| std::cmp::Reverse((link.live, link.created, link.failed));
            let name = |link: &LinkRow| (link.target, link.process);
            rank(a).cmp(&rank(b)).then_with(|| name(a).cmp(&name(b)))
        });
        links
    }

    fn peers_of<'a>(&self, groups: impl Iterator<Item = &'a Group>) -> Vec<(IpAddr, u64)> {
        let mut peers: HashMap<u32, u64, Hasher> = HashMap::default();
        for group in groups.filter(|group| group.live != 0) {
            *peers.entry(group.key.daddr).or_default() += u64::from(group.live);
        }
        let named = peers.into_iter().filter_map(|(peer, count)| Some((self.engine.address(peer)?, count)));
        let mut peers: Vec<(IpAddr, u64)> = named.collect();
        peers.sort_by_key(|(peer, count)| (std::cmp::Reverse(*count), *peer));
        peers
    }
}
