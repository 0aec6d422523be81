//! Owns: who holds the pools that a finding could be about, and who fails there or on ports.
//! Must not know: what is said of it.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::Survey;
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::snapshot::{LinkRow, PortKey, Target};

impl Survey<'_> {
    /// Everybody who holds sockets of a pool or finds no port in it, where a finding could be about it; who holds most first, and of
    /// equals who fails most.
    pub(in crate::engine::snapshot) fn links_of_pool(&self, row: u32) -> Vec<LinkRow> {
        if !self.may_press(row) {
            return Vec::new();
        }
        self.links_to(row, |link| (link.live, link.failing))
    }

    /// Ports that somebody failed to bind of late, most failures first; each with every one of those who did, likewise.
    pub(in crate::engine::snapshot) fn not_bound(&self) -> Vec<(PortKey, Vec<LinkRow>)> {
        let failed = self.failed.iter().enumerate().filter(|(_, failed)| **failed != 0);
        let mut ports: Vec<(u64, PortKey, u32)> = failed
            .filter_map(|(row, failed)| match self.target(row as u32)? {
                Target::Port(key) => Some((*failed, key, row as u32)),
                Target::Tuple(_) => None,
            })
            .collect();
        ports.sort_unstable_by_key(|(failed, key, _)| (Reverse(*failed), *key));
        let with_links = |(_, key, row)| (key, self.links_to(row, |link| (link.failing, 0)));
        ports.into_iter().map(with_links).collect()
    }

    /// Who has anything of this to do with a pool or a port, most first.
    fn links_to(&self, row: u32, of: fn(&LinkRow) -> (u64, u64)) -> Vec<LinkRow> {
        let links = self.dealt_with.get_or_init(|| self.links_by_target());
        let mut all: Vec<LinkRow> =
            links.get(&row).into_iter().flatten().filter_map(|at| self.link(*at)).collect();
        all.retain(|link| of(link) != (0, 0));
        all.sort_unstable_by_key(|link| (Reverse(of(link)), link.process));
        all
    }

    /// Links of pools and ports that a finding could be about.
    fn links_by_target(&self) -> HashMap<u32, Vec<u32>, Hasher> {
        let mut links: HashMap<u32, Vec<u32>, Hasher> = HashMap::default();
        for (at, row) in (0..).zip(&self.engine.groups.rows) {
            let RowId::Link { target, .. } = row.id else { continue };
            if self.may_press(target) {
                links.entry(target).or_default().push(at);
            }
        }
        links
    }
}
