//! Owns: who holds the pools that a finding could be about, and who fails there or on ports.
//! Must not know: what is said of it.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{LinkSum, Survey};
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::snapshot::{NotBound, ShareRow, Target};
use crate::model::ordering::Ordered as _;

impl Survey<'_> {
    /// Who holds sockets of a pool or finds no port in it, where a finding could be about it; who holds most first, and of
    /// equals who fails most.
    pub(in crate::engine::snapshot) fn shares_of_pool(&self, row: u32) -> Vec<ShareRow> {
        if !self.may_press(row) {
            return Vec::new();
        }
        self.shares_of(row, |share| (share.live, share.failing))
    }

    /// Ports that somebody failed to bind of late, most failures first.
    pub(in crate::engine::snapshot) fn not_bound(&self) -> Vec<NotBound> {
        let failed = self.failed.iter().enumerate().filter(|(_, failed)| **failed != 0);
        let of_port = |(row, failed): (usize, &u64)| match self.target(row as u32)? {
            Target::Port(key) => {
                let shares = self.shares_of(row as u32, |share| (share.failing, 0));
                Some(NotBound { key, failed: *failed, shares })
            }
            Target::Tuple(_) => None,
        };
        let mut ports: Vec<NotBound> = failed.filter_map(of_port).collect();
        ports.order_by_key(|port| (Reverse(port.failed), port.key));
        ports
    }

    /// Who has any of this in a pool or a port, most first.
    fn shares_of(&self, row: u32, of: fn(&ShareRow) -> (u64, u64)) -> Vec<ShareRow> {
        let links = self.dealt_with.get_or_init(|| self.links_by_target());
        let share = |at: &u32| {
            let (process, LinkSum { live, failing, .. }) = (self.ends(*at)?.0, self.links[*at as usize]);
            Some(ShareRow { process: self.engine.process_key(process)?, live, failing })
        };
        let all = links.get(&row).into_iter().flatten().filter_map(share);
        let mut all: Vec<ShareRow> = all.filter(|share| of(share) != (0, 0)).collect();
        all.sort_unstable_by_key(|share| (Reverse(of(share)), share.process));
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
