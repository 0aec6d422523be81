//! Owns: counts of a bounded number of things, told as the busiest of them and all others together: sums are always exact, and no
//! count ever goes back.
//! Must not know: what is counted.
//!
//! What is shown stays shown while it is there, unless another one is twice as busy. Of one that comes to be shown later, the series
//! begins at 0: what came before stands in `other` and stays there. Of one that goes, the count goes over to `other`. So `other` only grows.

use std::collections::HashMap;
use std::hash::Hash;

use crate::engine::Counts;
use crate::model::event::{Kind, Reason};
use crate::model::ordering::Ordered as _;

const SECOND_NS: u64 = 1_000_000_000;
/// What happened so long ago weighs half.
const HALF_LIFE_S: f64 = 60.0;
/// What is gone, with nothing alive, is shown for so long after its last event: longer than any usual time between two scrapes.
const STAYS_NS: u64 = 300 * SECOND_NS;
/// One that is shown is not displaced before.
const SETTLED_NS: u64 = 300 * SECOND_NS;
/// How much busier one must be to displace another.
const BUSIER: f64 = 2.0;
/// So many are followed for each that is shown.
const FOLLOWED: usize = 16;

/// What is known of one thing.
#[derive(Clone, Debug, Default)]
struct RankingEntry {
    counts: Counts,
    /// Of `counts`, what was told as a part of `other`.
    hidden: Counts,
    live: u64,
    shown_since_ns: Option<u64>,
    last_ns: u64,
    /// Events, the older the less.
    events: f64,
}

impl RankingEntry {
    fn see(&mut self, now_ns: u64) {
        let passed_s = now_ns.saturating_sub(self.last_ns) / SECOND_NS;
        if passed_s > 0 {
            self.events = self.events_at(now_ns);
            self.last_ns = now_ns;
        }
        self.events += 1.0;
    }

    fn events_at(&self, now_ns: u64) -> f64 {
        let passed_s = now_ns.saturating_sub(self.last_ns) / SECOND_NS;
        self.events * 0.5_f64.powf(passed_s as f64 / HALF_LIFE_S)
    }

    fn weight(&self, now_ns: u64) -> f64 {
        self.live as f64 + self.events_at(now_ns)
    }
}

/// One row of what is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RankedRow<K> {
    /// What.
    pub(super) key: K,
    /// What was counted since it is shown.
    pub(super) counts: Counts,
    /// TIME_WAIT sockets that live.
    pub(super) live: u64,
}

/// What is told: the busiest, and all others together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Busiest<K> {
    /// In no order.
    pub(super) rows: Vec<RankedRow<K>>,
    /// What is in no row.
    pub(super) other: Counts,
    /// Of the sockets that live, those in no row.
    pub(super) other_live: u64,
}

impl<K> Default for Busiest<K> {
    fn default() -> Self {
        Self { rows: Vec::new(), other: Counts::default(), other_live: 0 }
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Ranking<K> {
    entries: HashMap<K, RankingEntry>,
    total: Counts,
    live: u64,
    /// So many are shown.
    top: usize,
}

impl<K: Clone + Eq + Hash + Ord> Ranking<K> {
    /// Shows the `top` busiest.
    pub(super) fn new(top: usize) -> Self {
        Self { entries: HashMap::new(), total: Counts::default(), live: 0, top }
    }

    /// All that was counted, and how many sockets live.
    pub(super) fn total(&self) -> (Counts, u64) {
        (self.total, self.live)
    }

    /// Counts an event; of what has no name, in `other`.
    pub(super) fn count(&mut self, key: Option<K>, kind: Kind, reason: Option<Reason>, now_ns: u64) {
        self.total.add(kind, reason);
        let (begins, ends) = (matches!(kind, Kind::Created | Kind::Listed), kind == Kind::Ended);
        self.live = (self.live + u64::from(begins)).saturating_sub(u64::from(ends));
        let Some(entry) = key.and_then(|key| self.entry(key, ends, now_ns)) else { return };
        // A socket that began when there was no room ends there too.
        if ends && entry.live == 0 {
            return;
        }
        entry.see(now_ns);
        entry.counts.add(kind, reason);
        entry.live = entry.live + u64::from(begins) - u64::from(ends);
    }

    fn entry(&mut self, key: K, ends: bool, now_ns: u64) -> Option<&mut RankingEntry> {
        if !self.entries.contains_key(&key) {
            if ends {
                return None;
            }
            if self.entries.len() >= self.top * FOLLOWED {
                self.make_room();
            }
            if self.entries.len() >= self.top * FOLLOWED {
                return None;
            }
            self.entries.insert(key.clone(), RankingEntry { last_ns: now_ns, ..RankingEntry::default() });
        }
        self.entries.get_mut(&key)
    }

    /// Lets go of the quarter that was quiet longest, of those that are not shown and have nothing alive.
    fn make_room(&mut self) {
        let idle = self.entries.iter().filter(|(_, entry)| entry.shown_since_ns.is_none() && entry.live == 0);
        let mut idle: Vec<(u64, K)> = idle.map(|(key, entry)| (entry.last_ns, key.clone())).collect();
        idle.order_by(Ord::cmp);
        for (_, key) in idle.into_iter().take(self.top * FOLLOWED / 4) {
            self.entries.remove(&key);
        }
    }

    /// What is to be told at `now_ns`. `is_gone`: nobody is there any more who could add to it.
    pub(super) fn tell(&mut self, now_ns: u64, is_gone: impl Fn(&K) -> bool) -> Busiest<K> {
        self.forget(now_ns, is_gone);
        self.choose(now_ns);
        let mut told = Busiest { rows: Vec::new(), other: self.total, other_live: self.live };
        for (key, entry) in &mut self.entries {
            if entry.shown_since_ns.is_none() {
                entry.hidden = entry.counts;
                continue;
            }
            let counts = entry.counts.since(&entry.hidden);
            told.other = told.other.since(&counts);
            told.other_live = told.other_live.saturating_sub(entry.live);
            told.rows.push(RankedRow { key: key.clone(), counts, live: entry.live });
        }
        told
    }

    /// Lets go of what is gone.
    pub(super) fn forget(&mut self, now_ns: u64, is_gone: impl Fn(&K) -> bool) {
        self.entries.retain(|key, entry| {
            entry.live != 0 || entry.last_ns.saturating_add(STAYS_NS) > now_ns || !is_gone(key)
        });
    }

    /// Decides which are shown.
    fn choose(&mut self, now_ns: u64) {
        let weighed = |is_shown: bool| {
            let of = self.entries.iter().filter(|(_, entry)| entry.shown_since_ns.is_some() == is_shown);
            let mut all: Vec<(f64, K)> = of.map(|(key, entry)| (entry.weight(now_ns), key.clone())).collect();
            all.order_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            all
        };
        let (mut shown, hidden) = (weighed(true), weighed(false));
        let mut free = self.top.saturating_sub(shown.len());
        for (weight, key) in hidden {
            if free > 0 {
                free -= 1;
            } else {
                let Some((least, last)) = shown.pop() else { return };
                let is_settled = |entry: &RankingEntry| {
                    entry.shown_since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) < SETTLED_NS)
                };
                if weight <= least * BUSIER || self.entries.get(&last).is_none_or(is_settled) {
                    return;
                }
                self.set_shown(&last, None);
            }
            self.set_shown(&key, Some(now_ns));
        }
    }

    fn set_shown(&mut self, key: &K, since_ns: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.shown_since_ns = since_ns;
        }
    }
}

#[cfg(test)]
mod tests;
