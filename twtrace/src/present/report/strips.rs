//! Owns: when in a recording each process made TIME_WAIT sockets and failed, in stretches that grow until few of them cover all of it.
//! Must not know: what a process is called.

use std::collections::HashMap;

use super::MOST_ROWS;
use super::model::Strip;
use crate::engine::intern::Hasher;

/// Stretches that cover a recording at most.
const BINS: usize = 64;
/// A stretch has so many bits of nanoseconds at first: 8 ms.
const BITS: u32 = 23;
/// A group of nobody's.
const NOBODY: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Bins {
    created: [u32; BINS],
    failed: [u32; BINS],
}

/// All processes.
#[derive(Debug)]
pub(super) struct Strips {
    /// CLOCK_MONOTONIC in nanoseconds where the first stretch begins.
    began_ns: u64,
    bits: u32,
    all: Vec<Bins>,
    /// By row of a process, and by group.
    of_row: HashMap<u32, u32, Hasher>,
    of_group: Vec<u32>,
}

impl Strips {
    pub(super) fn new(began_ns: u64) -> Self {
        Self { began_ns, bits: BITS, all: Vec::new(), of_row: HashMap::default(), of_group: Vec::new() }
    }

    /// A group that is new, and the row of its process. There is no room for more processes than a table has rows.
    pub(super) fn enter(&mut self, group: u32, row: Option<u32>) {
        let has_room = self.all.len() < MOST_ROWS;
        let strip = row.and_then(|row| {
            let known = self.of_row.get(&row).copied();
            known.or_else(|| {
                let at = self.all.len() as u32;
                has_room.then(|| {
                    self.all.push(Bins { created: [0; BINS], failed: [0; BINS] });
                    self.of_row.insert(row, at);
                    at
                })
            })
        });
        self.of_group.resize(group as usize + 1, NOBODY);
        self.of_group[group as usize] = strip.unwrap_or(NOBODY);
    }

    /// Counts what a group's process did at `at_ns`.
    #[inline]
    pub(super) fn count(&mut self, group: u32, at_ns: u64, has_failed: bool) {
        let strip = self.of_group.get(group as usize).copied().unwrap_or(NOBODY);
        if strip == NOBODY {
            return;
        }
        let mut bin = self.bin(at_ns);
        if bin >= BINS {
            self.widen(at_ns);
            bin = self.bin(at_ns).min(BINS - 1);
        }
        let bins = &mut self.all[strip as usize];
        let slot = if has_failed { &mut bins.failed[bin] } else { &mut bins.created[bin] };
        *slot = slot.saturating_add(1);
    }

    #[inline]
    fn bin(&self, at_ns: u64) -> usize {
        (at_ns.saturating_sub(self.began_ns) >> self.bits) as usize
    }

    #[cold]
    fn widen(&mut self, at_ns: u64) {
        while self.bin(at_ns) >= BINS && self.bits < u64::BITS - 1 {
            self.bits += 1;
            for bins in &mut self.all {
                join(&mut bins.created);
                join(&mut bins.failed);
            }
        }
    }

    /// What the process of a row did up to `ended_ns`.
    pub(super) fn of(&self, row: u32, ended_ns: u64) -> Option<Strip> {
        let bins = &self.all[*self.of_row.get(&row)? as usize];
        let used = self.bin(ended_ns).min(BINS - 1) + 1;
        Some(Strip { created: bins.created[..used].to_vec(), failed: bins.failed[..used].to_vec() })
    }
}

fn join(bins: &mut [u32; BINS]) {
    for at in 0..BINS {
        let pair = bins.get(2 * at..2 * at + 2);
        bins[at] = pair.map_or(0, |pair| pair[0].saturating_add(pair[1]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_widen_and_lose_nothing() {
        let mut strips = Strips::new(7);
        strips.enter(0, Some(13));
        strips.enter(1, None);
        strips.enter(2, Some(13));
        strips.enter(3, Some(11));
        for n in 0..997 {
            strips.count(if n % 2 == 0 { 0 } else { 2 }, 7 + n * 1_000_000_007, n % 10 == 0);
            strips.count(1, 7, false);
        }
        let strip = strips.of(13, 7 + 997 * 1_000_000_007).unwrap();
        let sum = |counts: &[u32]| counts.iter().sum::<u32>();
        assert_eq!((sum(&strip.created), sum(&strip.failed)), (897, 100));
        assert!(strip.created.len() > BINS / 2 && strip.created.len() <= BINS);
        assert!(strip.created.iter().rev().skip(1).all(|count| *count != 0), "{strip:?}");
        assert_eq!(strips.of(11, 7).map(|strip| sum(&strip.created)), Some(0));
        assert_eq!(strips.of(12, 7), None);
    }

    #[test]
    fn centuries_fit_as_well() {
        let mut strips = Strips::new(0);
        strips.enter(0, Some(1));
        strips.count(0, 5, false);
        strips.count(0, u64::MAX, true);
        let strip = strips.of(1, u64::MAX).unwrap();
        assert_eq!((strip.created[0], strip.failed.last()), (1, Some(&1)));
    }
}
