//! Owns: who holds the pools that a finding could be about, and who fails there or on ports.
//! Must not know: what is said of it.

use std::collections::HashMap;

use super::{NOWHERE, Survey};
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::snapshot::{Failing, HOLDERS, PortKey, ProcessKey, Target};
use crate::engine::table::TableRow;

/// Ports that could not be bound and that are told.
const NOT_BOUND: usize = 5;

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
        if !self.may_press(row) {
            return Vec::new();
        }
        let of_links = || {
            let mut held: HashMap<u32, Vec<u32>, Hasher> = HashMap::default();
            for (at, of) in (0..).zip(&self.engine.groups.rows) {
                let RowId::Link { target, .. } = of.id else { continue };
                if self.links[at as usize].live != 0 && self.may_press(target) {
                    held.entry(target).or_default().push(at);
                }
            }
            held
        };
        let links = self.held.get_or_init(of_links).get(&row).map(Vec::as_slice).unwrap_or_default();
        let of_link = |link: &u32| {
            Some((self.engine.process_key(self.ends(*link)?.0)?, self.links[*link as usize].live))
        };
        let mut all: Vec<(ProcessKey, u64)> = links.iter().filter_map(of_link).collect();
        all.sort_unstable_by_key(|(process, live)| (std::cmp::Reverse(*live), *process));
        all.truncate(HOLDERS);
        all
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
        ports.into_iter().flat_map(|(row, key, _)| self.failers_of(row).map(move |of| (key, of))).collect()
    }

    /// Everybody who failed of late on a port, most failures first.
    fn failers_of(&self, row: u32) -> impl Iterator<Item = Failing> + use<> {
        let of_link = |(link, of): (u32, &TableRow)| {
            let RowId::Link { process, target } = of.id else { return None };
            let failed = self.links[link as usize].failing;
            let is_one = target == row && failed != 0;
            Some(Failing { process: self.engine.process_key(process).filter(|_| is_one)?, failed, others: 0 })
        };
        let mut all: Vec<Failing> = (0..).zip(&self.engine.groups.rows).filter_map(of_link).collect();
        all.sort_unstable_by_key(|of| (std::cmp::Reverse(of.failed), of.process));
        all.truncate(HOLDERS);
        all.into_iter()
    }
}
