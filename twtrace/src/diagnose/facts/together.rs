//! Owns: what the lists of several recordings of one machine showed, one after the other, as what one would have shown.
//! Must not know: where they come from, what events told.

use std::collections::{BTreeMap, HashMap};

use super::kept;
use super::samples::{Local, OnTuple, Sample, Samples};
use super::{DeadSetting, Settings, Slab};
use crate::model::ordering::Ordered as _;
use crate::recording::lists::{LeftOut, Listed, Lists};

/// Pools of a namespace that are kept: of a recording that is rotated for weeks the fullest ones.
const MOST_POOLS: usize = 1 << 14;

/// A network namespace as all lists together show it.
#[derive(Debug)]
pub struct SampledNetns {
    /// All looks at it.
    pub samples: Samples,
    /// See [`Listed::outside_tw_reuse`].
    pub outside_tw_reuse: Option<u32>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Together {
    /// By inode.
    pub namespaces: BTreeMap<u32, SampledNetns>,
    /// As the last one has it.
    pub slab: Option<Slab>,
    /// As the last one has them.
    pub dead_settings: Vec<DeadSetting>,
    /// Recordings that were taken in.
    pub recordings: usize,
    /// Those of them that have lists.
    pub listed: usize,
    /// As they were told last.
    settings: HashMap<u32, Settings>,
}

impl Together {
    /// Takes in the lists of the next recording, if it has any, with the settings of namespaces that it tells, the last word last. A part in
    /// which nothing happens in a namespace tells none of it: they are then as the parts before have them.
    pub fn take(&mut self, lists: Option<&Lists>, settings: impl IntoIterator<Item = (u32, Settings)>) {
        self.recordings += 1;
        self.settings.extend(settings);
        let Some(lists) = lists else { return };
        self.listed += 1;
        for listed in &lists.namespaces {
            let settings = self.settings.get(&listed.netns).cloned().unwrap_or_default();
            self.add(listed, kept::samples(lists, listed, settings));
        }
        self.slab = lists.slab.map(|(object_bytes, bytes)| Slab { object_bytes, bytes }).or(self.slab.take());
        let dead = lists.dead_settings.iter().cloned();
        self.dead_settings = dead.map(|(path, name, value)| DeadSetting { path, name, value }).collect();
    }

    fn add(&mut self, listed: &Listed, later: Samples) {
        let samples = match self.namespaces.remove(&listed.netns) {
            Some(earlier) => earlier.samples.followed_by(later),
            None => later,
        };
        let seen = SampledNetns { samples, outside_tw_reuse: listed.outside_tw_reuse };
        self.namespaces.insert(listed.netns, seen);
    }
}

impl Samples {
    /// These looks and those of a recording that came later: what is told of the last look is the later ones', what is told at its worst is
    /// the worse of both, and what the kernel counted is added up.
    fn followed_by(self, later: Self) -> Self {
        let counted = match (self.counted(), later.counted()) {
            (Some(earlier), Some(later)) => Some(later.and(&earlier)),
            (one, other) => other.or(one),
        };
        let overflow = self.overflowed().saturating_add(later.overflowed());
        let is_more_pinned = self.pinned > later.pinned;
        let pools = self.left_out.pools.max(later.left_out.pools);
        let ports = self.left_out.ports.max(later.left_out.ports);
        // Where no socket was on the range, connections on other ports decide.
        let seen = |samples: &Self| (samples.crowded(), samples.connections.len());
        let (crowd, connections, of_crowd) = if seen(&self) > seen(&later) {
            (self.crowd, self.connections, self.left_out)
        } else {
            (later.crowd, later.connections, later.left_out)
        };
        Self {
            first_overflow: Some(0),
            first_counters: counted.map(|counters| counters.map(|_| 0)),
            tuples: fullest(joined(self.tuples, later.tuples, OnTuple::past, OnTuple::followed_by)),
            locals: joined(self.locals, later.locals, Local::past, Local::followed_by),
            time_wait: later.time_wait,
            fin_wait2: later.fin_wait2,
            peak_time_wait: self.peak_time_wait.max(later.peak_time_wait),
            pinned: self.pinned.max(later.pinned),
            pins: if is_more_pinned { self.pins } else { later.pins },
            range_in_use: self.range_in_use.max(later.range_in_use),
            crowd,
            connections,
            left_out: LeftOut { pools, ports, ..of_crowd },
            piles: self.piles.followed_by(later.piles),
            last: Sample { overflow, counters: counted, ..later.last },
        }
    }
}

/// Both as one: `past` is what is left of an earlier one that no later one is there of.
fn joined<K: Eq + std::hash::Hash, V, S: std::hash::BuildHasher + Default>(
    earlier: HashMap<K, V, S>,
    mut later: HashMap<K, V, S>,
    past: fn(V) -> V,
    both: fn(V, V) -> V,
) -> HashMap<K, V, S> {
    for (key, value) in earlier {
        let value = match later.remove(&key) {
            Some(after) => both(value, after),
            None => past(value),
        };
        later.insert(key, value);
    }
    later
}

fn fullest<K: Ord + Copy + std::hash::Hash, S: std::hash::BuildHasher + Default>(
    all: HashMap<K, OnTuple, S>,
) -> HashMap<K, OnTuple, S> {
    if all.len() <= MOST_POOLS {
        return all;
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.order_by_key(|(key, on)| (std::cmp::Reverse(on.peak.all()), *key));
    all.truncate(MOST_POOLS);
    all.into_iter().collect()
}

impl OnTuple {
    fn past(self) -> Self {
        Self { now: super::Ports::default(), ..self }
    }

    fn followed_by(self, later: Self) -> Self {
        let timestamps = later.timestamps.or(self.timestamps);
        let is_fuller = self.peak.all() > later.peak.all();
        let (peak, holders) = if is_fuller { (self.peak, self.holders) } else { (later.peak, later.holders) };
        Self { now: later.now, peak, timestamps, holders }
    }
}

impl Local {
    fn past(self) -> Self {
        Self { listening: false, ..self }
    }

    fn followed_by(self, later: Self) -> Self {
        let holders = if later.holders.is_empty() { self.holders } else { later.holders };
        let (time_wait, open) = (self.time_wait.max(later.time_wait), self.open.max(later.open));
        Self { time_wait, open, holders, ..later }
    }
}

#[cfg(test)]
mod tests;
