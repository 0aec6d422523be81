//! Owns: a process, and what it has to do with a pool or a port.
//! Must not know: how any of it was come by.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::model::filter::{Filter, FilteredProcess};
use crate::model::ordering::Ordered as _;

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Process {
    /// What user space calls pid; `None` where nobody knows who it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When it started, CLOCK_BOOTTIME in nanoseconds; 0 where that is not known. A pid is used again, a pid with its start is not.
    #[serde(skip)]
    pub start_ns: u64,
    /// Its real uid, where that is known.
    #[serde(skip)]
    pub uid: Option<u32>,
    /// The path of its cgroup, where that is known. Hostile until escaped.
    #[serde(skip)]
    pub cgroup: Option<String>,
    /// Its name. Hostile until escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comm: String,
    /// Its program. Hostile until escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Its container. Hostile until escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its systemd service. Hostile until escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// /proc tells start times in ticks of USER_HZ, which is 100 on every architecture that is supported.
const TICK_NS: u64 = 10_000_000;

impl Process {
    /// Whether both are one and the same process, whatever it is called by now.
    pub fn is(&self, other: &Self) -> bool {
        self.pid == other.pid && self.started().zip(other.started()).is_none_or(|(one, two)| one == two)
    }

    /// When it started, in ticks; `None` where that is not known.
    pub(in crate::diagnose) fn started(&self) -> Option<u64> {
        (self.start_ns != 0).then_some(self.start_ns / TICK_NS)
    }

    /// Whether `filter` is about it; `None` where nobody knows.
    pub fn is_of(&self, filter: &Filter) -> Option<bool> {
        let Self { pid, uid, comm, cgroup, .. } = self;
        filter.wants(FilteredProcess { pid: (*pid)?, comm, uid: *uid, cgroup: cgroup.as_deref() })
    }
}

/// What a process has to do with a pool or a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// Who.
    pub process: Process,
    /// Ports that its TIME_WAIT sockets hold.
    pub time_wait: u64,
    /// Ports that its other sockets hold.
    pub open: u64,
    /// TIME_WAIT sockets that it made while looking.
    pub created: u64,
    /// Its calls that failed while looking.
    pub failed: u64,
    /// TIME_WAIT sockets of its that were refused, or ended by RSTs, while looking.
    pub lost: u64,
    /// Of those, ended by RSTs.
    #[serde(skip)]
    pub reset: u64,
    /// What its connections are like, all destinations together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub habits: Option<Habits>,
}

impl Share {
    /// Calls of a process that failed, and nothing else.
    pub fn failing(process: &Process, failed: u64) -> Self {
        Self { process: process.clone(), failed, ..Self::default() }
    }

    /// Ports that its sockets hold, TIME_WAIT or not.
    pub fn held(&self) -> u64 {
        self.time_wait + self.open
    }

    /// Each process once, with all that its shares come to, in the order in which it is first met. Whoever is counted by shares ("and 3
    /// more") is counted once in this way, however many ports or addresses his calls were for.
    ///
    /// Of one pid there may be several processes, one after the other: whose start is not known is one of its own then.
    pub fn by_process(all: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut all: Vec<Self> = all.into_iter().collect();
        let mut only_start: HashMap<Option<u32>, Option<u64>> = HashMap::new();
        let starts = all.iter().filter_map(|share| Some((share.process.pid, share.process.started()?)));
        for (pid, started) in starts {
            let only = only_start.entry(pid).or_insert(Some(started));
            *only = only.filter(|only| *only == started);
        }
        let mut indices: HashMap<(Option<u32>, Option<u64>), usize> = HashMap::with_capacity(all.len());
        // In place: mostly each is there once, and there may be tens of thousands.
        let mut kept = 0;
        for at in 0..all.len() {
            let Process { pid, .. } = all[at].process;
            let only = || only_start.get(&pid).copied().flatten();
            match indices.entry((pid, all[at].process.started().or_else(only))) {
                Entry::Occupied(entry) => {
                    let share = std::mem::take(&mut all[at]);
                    all[*entry.get()].add(share);
                }
                Entry::Vacant(entry) => {
                    entry.insert(kept);
                    all.swap(kept, at);
                    kept += 1;
                }
            }
        }
        all.truncate(kept);
        all
    }

    /// As [`Self::by_process`], who has most of `part` first.
    pub fn most_first(all: impl IntoIterator<Item = Self>, part: fn(&Self) -> u64) -> Vec<Self> {
        let mut once = Self::by_process(all);
        once.order_by_key(|share| Reverse(part(share)));
        once
    }

    /// Puts who holds most ports first, and of equals who made most TIME_WAIT sockets.
    pub(super) fn sort(shares: &mut [Self]) {
        shares.order_by(|a, b| (b.held(), b.created, &a.process).cmp(&(a.held(), a.created, &b.process)));
    }

    fn add(&mut self, other: Self) {
        let Self { process, time_wait, open, created, failed, lost, reset, habits } = other;
        if self.process.start_ns == 0 {
            self.process.start_ns = process.start_ns;
        }
        self.time_wait += time_wait;
        self.open += open;
        self.created += created;
        self.failed += failed;
        self.lost += lost;
        self.reset += reset;
        // They are of all destinations together already.
        self.habits = self.habits.or(habits);
    }
}

/// What a process's connections are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Habits {
    /// TIME_WAIT sockets it made as client: it closed first.
    pub as_client: u64,
    /// TIME_WAIT sockets it made as server.
    pub as_server: u64,
    /// Half of its connections lived at most so long, in microseconds.
    pub age_us: Option<u64>,
    /// Half of its connections sent at most so much, in bytes.
    pub sent: Option<u64>,
    /// Half of its connections received at most so much, in bytes.
    pub received: Option<u64>,
}

/// Shares under construction.
#[derive(Debug, Default)]
pub(super) struct Shares(pub(super) Vec<Share>, BTreeMap<Process, usize>);

impl Shares {
    pub(super) fn of(&mut self, who: &Process) -> &mut Share {
        let at = match self.1.get(who) {
            Some(at) => *at,
            None => {
                self.1.insert(who.clone(), self.0.len());
                self.0.push(Share { process: who.clone(), ..Share::default() });
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }

    /// Who has most comes first.
    pub(super) fn sorted(self) -> Vec<Share> {
        let mut shares = self.0;
        Share::sort(&mut shares);
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(pid: Option<u32>, start_ns: u64, failed: u64) -> Share {
        Share::failing(&Process { pid, start_ns, ..Process::default() }, failed)
    }

    #[test]
    fn each_process_is_there_once_and_who_has_most_is_first() {
        let later = Share { time_wait: 3, open: 5, created: 7, lost: 11, reset: 2, ..share(Some(7), 0, 13) };
        let all = [share(Some(7), 0, 17), share(Some(9), 0, 40), share(None, 0, 1), later, share(None, 0, 1)];
        let told: Vec<_> =
            Share::by_process(all.clone()).iter().map(|share| (share.process.pid, share.failed)).collect();
        assert_eq!(told, [(Some(7), 30), (Some(9), 40), (None, 2)]);
        let sorted = Share::most_first(all, |share| share.failed);
        assert_eq!(sorted[0].process.pid, Some(9));
        let Share { time_wait, open, created, lost, reset, .. } = sorted[1];
        assert_eq!((time_wait, open, created, lost, reset), (3, 5, 7, 11, 2));
    }

    #[test]
    fn a_pid_that_was_used_again_is_another_process() {
        let all =
            [share(Some(7), TICK_NS, 1), share(Some(7), 2 * TICK_NS, 1), share(Some(7), TICK_NS + 1, 1)];
        let told: Vec<u64> = Share::by_process(all).iter().map(|share| share.failed).collect();
        assert_eq!(told, [2, 1]);
        // Which of them it was that nobody knows the start of, nobody knows; of one, it is that.
        let told = |starts: [u64; 3]| {
            let once = Share::by_process(starts.map(|start_ns| share(Some(7), start_ns, 1)));
            once.iter().map(|share| (share.process.start_ns, share.failed)).collect::<Vec<_>>()
        };
        let (one, two) = (TICK_NS, 2 * TICK_NS);
        assert_eq!(told([0, one, two]), [(0, 1), (one, 1), (two, 1)]);
        assert_eq!(told([one, two, 0]), [(one, 1), (two, 1), (0, 1)]);
        assert_eq!(told([0, one, one]), [(one, 3)]);
        assert_eq!(told([one, 0, one]), [(one, 3)]);
    }
}
