//! Owns: who holds the pools that a finding could be about, and who fails there or on ports.
//! Must not know: what is said of it.

use std::collections::HashMap;

use super::{LinkSum, NOWHERE, Survey};
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::snapshot::{Failing, PortKey, ProcessKey, Target};

/// Ports that could not be bound and that are told.
const NOT_BOUND: usize = 5;
/// Processes that are told of one pool or port.
const MOST: usize = 16;

impl Survey<'_> {
    /// Who fails most of late, in a pool or on a port.
    pub(in crate::engine::snapshot) fn failing(&self, row: u32) -> Option<Failing> {
        let (link, others) = *self.failers.get(row as usize)?;
        let (process, _) = self.ends(link)?;
        let failed = self.links.get(link as usize)?.failing;
        Some(Failing { process: self.engine.process_key(process)?, failed, others })
    }

    /// Who holds how many sockets of a pool that a finding could be about, most first.
    pub(in crate::engine::snapshot) fn holders(&self, row: u32) -> Vec<(ProcessKey, u64)> {
        if self.may_press(row) { self.most(row, |sum| sum.live) } else { Vec::new() }
    }

    /// Who has most of something to do with a pool or a port, and how much.
    fn most(&self, row: u32, of: fn(&LinkSum) -> u64) -> Vec<(ProcessKey, u64)> {
        let links = self.dealt_with.get_or_init(|| self.links_by_target());
        let of_link = |link: &u32| {
            let sum = of(&self.links[*link as usize]);
            if sum == 0 { None } else { Some((self.engine.process_key(self.ends(*link)?.0)?, sum)) }
        };
        let mut all: Vec<(ProcessKey, u64)> =
            links.get(&row).into_iter().flatten().filter_map(of_link).collect();
        all.sort_unstable_by_key(|(process, sum)| (std::cmp::Reverse(*sum), *process));
        all.truncate(MOST);
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

    /// Ports that somebody failed to bind of late, most failures first; each with every one of those who did.
    pub(in crate::engine::snapshot) fn not_bound(&self) -> Vec<(PortKey, Failing)> {
        let failed = self.failers.iter().enumerate().filter(|(_, (link, _))| *link != NOWHERE);
        let of_port = |(row, _): (usize, &(u32, u64))| match self.target(row as u32)? {
            Target::Port(key) => Some((row as u32, key, self.failing(row as u32)?.failed)),
            Target::Tuple(_) => None,
        };
        let mut ports: Vec<(u32, PortKey, u64)> = failed.filter_map(of_port).collect();
        ports.sort_by_key(|(_, key, failed)| (std::cmp::Reverse(*failed), *key));
        ports.truncate(NOT_BOUND);
        let of_row = |(row, key, _)| {
            let failers = self.most(row, |sum| sum.failing).into_iter();
            failers.map(move |(process, failed)| (key, Failing { process, failed, others: 0 }))
        };
        ports.into_iter().flat_map(of_row).collect()
    }
}
