//! Owns: a process, and what it has to do with a pool or a port.
//! Must not know: how any of it was come by.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::filter::{Filter, Who};

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
        let started = |process: &Self| (process.start_ns != 0).then_some(process.start_ns / TICK_NS);
        self.pid == other.pid && started(self).zip(started(other)).is_none_or(|(one, two)| one == two)
    }

    /// Whether `filter` is about it; `None` where nobody knows.
    pub fn is_of(&self, filter: &Filter) -> Option<bool> {
        let Self { pid, uid, comm, cgroup, .. } = self;
        filter.wants(Who { pid: (*pid)?, comm, uid: *uid, cgroup: cgroup.as_deref() })
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
        let weight = |share: &Share| share.time_wait + share.open;
        shares.sort_by(|a, b| (weight(b), &a.process).cmp(&(weight(a), &b.process)));
        shares
    }
}
