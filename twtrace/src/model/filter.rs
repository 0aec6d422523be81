//! Owns: which events a user wants to see, decided twice from one definition: in the kernel where it can be, so that the
//! rest costs nothing to carry, and here for whatever the kernel cannot decide and for recordings.
//! Must not know: the command line, aya.

mod glob;
mod kernel;

pub use glob::Glob;
pub use kernel::{Beside, KernelFilter};

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::event::{Comm, Errno, Event, Kind, Process, Reason, Role};

/// Cgroups and everything below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFilter {
    /// Path in the cgroup v2 hierarchy, starting with `/`. A `*` in it also stands for slashes.
    pub path: Glob,
    /// Its id, where it is a leaf that exists now. Who has it is in there; who has another one may be in one that came later.
    pub leaf_id: Option<u64>,
}

/// What a user wants to see. An empty list lets everything pass; within a list one match is enough, and every list
/// must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Owner's pid (the caller's for failures).
    pub pids: Vec<u32>,
    /// Owner's name.
    pub comms: Vec<Glob>,
    /// Owner's uid.
    pub uids: Vec<u32>,
    /// Owner's cgroup.
    pub cgroups: Vec<CgroupFilter>,
    /// Inodes of network namespaces.
    pub netns: Vec<u32>,
    /// Local ports.
    pub sports: Vec<u16>,
    /// Remote ports.
    pub dports: Vec<u16>,
    /// Ports on either end.
    pub ports: Vec<u16>,
    /// Remote networks.
    pub peers: Vec<IpNet>,
    /// `Some(4)` or `Some(6)`.
    pub family: Option<u8>,
    /// Which ends.
    pub roles: Vec<Role>,
    /// Why it ended; only `ended` events have one.
    pub reasons: Vec<Reason>,
    /// Which failures of connect() and bind(); `None`: those that the source tells of itself, which are live those for want of a port, and
    /// all of a recording.
    pub failures: Option<Failures>,
    /// What does not pass, whatever else is wanted.
    pub not: Unwanted,
}

/// What a user does not want to see. An owner who is not known may be one of these, and passes no more than where owners are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwanted {
    /// Owner's pid (the caller's for failures).
    pub pids: Vec<u32>,
    /// Owner's name.
    pub comms: Vec<Glob>,
    /// Owner's cgroup.
    pub cgroups: Vec<CgroupFilter>,
    /// Ports on either end.
    pub ports: Vec<u16>,
    /// Remote networks.
    pub peers: Vec<IpNet>,
    /// Inodes of network namespaces. No flag asks for it: those that were asked for by name are gone, and others have their inodes.
    pub netns: Vec<u32>,
}

impl Unwanted {
    fn is_empty(&self) -> bool {
        let Self { pids, comms, cgroups, ports, peers, netns } = self;
        let picks_conn = !(ports.is_empty() && peers.is_empty() && netns.is_empty());
        !picks_conn && pids.is_empty() && comms.is_empty() && cgroups.is_empty()
    }
}

/// A process, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct FilteredProcess<'a> {
    /// What the kernel calls tgid.
    pub pid: u32,
    /// Its name.
    pub comm: &'a str,
    /// Its real uid.
    pub uid: Option<u32>,
    /// The path of its cgroup.
    pub cgroup: Option<&'a str>,
}

/// What flags leave out before anything is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omissions {
    /// The flags by which anything is left out within a network namespace. What is counted of a namespace is then a part of it.
    pub flags: Vec<String>,
    /// Of those, the flags that leave out processes, or ends: how full a pool of ports gets, and at what rate, is not known by the rest.
    pub of_owners: Vec<String>,
    /// Whether TIME_WAIT sockets may be left out that draw from the same pools as those that are counted.
    pub hides_sockets: bool,
}

impl Omissions {
    /// What these flags leave out, each with its value as [`Filter::words`] has them.
    pub fn of(words: &[String]) -> Self {
        /// Whole namespaces are picked, or more is told.
        const WHOLE: [&str; 2] = ["--netns", "--failures"];
        const OWNERS: [&str; 10] = [
            "--pid",
            "--comm",
            "--uid",
            "--cgroup",
            "--reason",
            // Of a pool it leaves one port.
            "--sport",
            "--not-pid",
            "--not-comm",
            "--not-cgroup",
            "--only-command",
        ];
        let flag = |word: &String| word.split(' ').next().unwrap_or_default().to_owned();
        let flags: Vec<String> =
            words.iter().filter(|word| !WHOLE.contains(&flag(word).as_str())).cloned().collect();
        let of_owners: Vec<String> =
            flags.iter().filter(|word| OWNERS.contains(&flag(word).as_str())).cloned().collect();
        // Of sockets that were there before, nobody knows the role.
        let hides_sockets = !of_owners.is_empty() || flags.iter().any(|word| flag(word) == "--role");
        Self { flags, of_owners, hides_sockets }
    }
}

/// Which failures of calls are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failures {
    /// Those that say that there was no port to be had.
    Ports,
    /// Whatever the call returned.
    All,
}

words!(Failures, ALL, { Ports => "ports", All => "all" });

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        // Field by field, as this is asked for every event: to compare with an empty one is to make one, and to drop it.
        let Self { pids, comms, uids, cgroups, netns, sports, dports, ports, .. } = self;
        let Self { peers, family, roles, reasons, failures, not, .. } = self;
        let picks_owner = !(pids.is_empty() && comms.is_empty() && uids.is_empty() && cgroups.is_empty());
        let picks_port = !(sports.is_empty() && dports.is_empty() && ports.is_empty());
        let picks_conn = picks_port || !(netns.is_empty() && peers.is_empty()) || family.is_some();
        let picks_outcome = !(roles.is_empty() && reasons.is_empty()) || failures.is_some();
        !picks_owner && !picks_conn && !picks_outcome && not.is_empty()
    }

    /// The flags that ask for this, one each: `--dport 80`. Namespaces are told by their inodes.
    pub fn words(&self) -> Vec<String> {
        fn each<'a, T: ToString>(flag: &'a str, list: &'a [T]) -> impl Iterator<Item = String> + 'a {
            list.iter().map(move |value| format!("{flag} {}", value.to_string()))
        }
        let paths = |cgroups: &[CgroupFilter]| cgroups.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
        let (cgroups, not_cgroups) = (paths(&self.cgroups), paths(&self.not.cgroups));
        each("--pid", &self.pids)
            .chain(each("--comm", &self.comms))
            .chain(each("--uid", &self.uids))
            .chain(each("--cgroup", &cgroups))
            .chain(each("--netns", &self.netns))
            .chain(each("--sport", &self.sports))
            .chain(each("--dport", &self.dports))
            .chain(each("--port", &self.ports))
            .chain(each("--peer", &self.peers))
            .chain(self.family.map(|family| format!("-{family}")))
            .chain(each("--role", &self.roles))
            .chain(each("--reason", &self.reasons))
            .chain(each("--not-pid", &self.not.pids))
            .chain(each("--not-comm", &self.not.comms))
            .chain(each("--not-cgroup", &not_cgroups))
            .chain(each("--not-port", &self.not.ports))
            .chain(each("--not-peer", &self.not.peers))
            .chain(self.failures.map(|which| format!("--failures {which}")))
            .collect()
    }

    /// Whether only whole network namespaces are picked: then the kernel's books can still be compared.
    pub fn only_netns(&self) -> bool {
        let not = Unwanted { netns: Vec::new(), ..self.not.clone() };
        Self { netns: Vec::new(), failures: None, not, ..self.clone() }.is_empty()
    }

    /// Whether connections alone decide: nothing is asked about owners, roles or reasons.
    pub fn only_conn(&self) -> bool {
        !self.asks_for_owner() && self.roles.is_empty() && self.reasons.is_empty()
    }

    /// Whether `event`, joined with what is known of its socket, passes. `lost` always does.
    pub fn passes(&self, event: &Event) -> bool {
        if event.kind == Kind::Lost {
            return true;
        }
        self.conn_passes(event) && self.owner_passes(event) && self.outcome_passes(event)
    }

    fn conn_passes(&self, event: &Event) -> bool {
        let Some(conn) = &event.conn else { return false };
        let has_port = |port: &u16| *port == conn.sport || *port == conn.dport;
        any(&self.netns, |inode| *inode == conn.netns)
            && any(&self.sports, |port| *port == conn.sport)
            && any(&self.dports, |port| *port == conn.dport)
            && any(&self.ports, has_port)
            && self.peer_passes(&conn.daddr)
            && self.family.is_none_or(|family| (family == 4) == conn.saddr.is_ipv4())
            && !self.not.ports.iter().any(has_port)
            && !self.not.netns.contains(&conn.netns)
    }

    /// Whether it matters where the other end is.
    pub fn asks_for_peer(&self) -> bool {
        !self.peers.is_empty() || !self.not.peers.is_empty()
    }

    /// Whether what goes to an address passes, as far as that is asked about.
    pub fn peer_passes(&self, address: &IpAddr) -> bool {
        let is_peer = |net: &IpNet| net.contains(address);
        any(&self.peers, is_peer) && !self.not.peers.iter().any(is_peer)
    }

    /// Whether it matters who did it.
    pub fn asks_for_owner(&self) -> bool {
        let Self { pids, comms, uids, cgroups, not, .. } = self;
        let wanted = !pids.is_empty() || !comms.is_empty() || !uids.is_empty() || !cgroups.is_empty();
        wanted || !not.pids.is_empty() || !not.comms.is_empty() || !not.cgroups.is_empty()
    }

    /// Whether what a process does passes, as far as owners are asked about; `None` where it is not known what it is asked for.
    pub fn wants(&self, who: FilteredProcess<'_>) -> Option<bool> {
        let holds = |cgroup: &CgroupFilter| who.cgroup.map(|path| cgroup.is_above(path));
        self.judge(who.pid, Comm::new(who.comm), who.uid, holds)
    }

    fn owner_passes(&self, event: &Event) -> bool {
        !self.asks_for_owner() || self.judge_owner(event) == Some(true)
    }

    /// Whether `event` is left out for want of knowing in which cgroup its owner is.
    pub fn lacks_cgroup(&self, event: &Event) -> bool {
        let asks = !self.cgroups.is_empty() || !self.not.cgroups.is_empty();
        asks && event.owner.is_some()
            && self.judge_owner(event).is_none()
            && self.conn_passes(event)
            && self.outcome_passes(event)
    }

    fn judge_owner(&self, event: &Event) -> Option<bool> {
        let owner = event.owner.as_ref()?;
        let path = event.identity.as_ref().and_then(|identity| identity.cgroup.as_deref());
        self.judge(owner.pid, owner.comm, Some(owner.uid), |cgroup| cgroup.holds(owner, path))
    }

    /// `holds` says whether the process is in a cgroup, where that is known.
    fn judge(
        &self,
        pid: u32,
        comm: Comm,
        uid: Option<u32>,
        holds: impl Fn(&CgroupFilter) -> Option<bool>,
    ) -> Option<bool> {
        let is_out = !any(&self.pids, |wanted| *wanted == pid)
            || !any(&self.comms, |glob| glob.matches_comm(comm))
            || self.not.pids.contains(&pid)
            || self.not.comms.iter().any(|glob| glob.matches_comm(comm));
        if is_out {
            return Some(false);
        }
        let is_user = if self.uids.is_empty() { Some(true) } else { uid.map(|uid| self.uids.contains(&uid)) };
        let is_inside = if self.cgroups.is_empty() { Some(true) } else { in_one(&self.cgroups, &holds) };
        let is_outside = in_one(&self.not.cgroups, &holds).map(|is_in| !is_in);
        let all = [is_user, is_inside, is_outside];
        if all.contains(&Some(false)) { Some(false) } else { all.iter().all(Option::is_some).then_some(true) }
    }

    /// Whether nobody in this cgroup passes, whoever he is. `path` is that of the cgroup whose id it is.
    pub fn leaves_out(&self, id: u64, path: &str) -> bool {
        let has = |cgroup: &CgroupFilter| cgroup.leaf_id == Some(id) || cgroup.is_above(path);
        !any(&self.cgroups, has) || self.not.cgroups.iter().any(has)
    }

    fn outcome_passes(&self, event: &Event) -> bool {
        let is_failure = matches!(event.kind, Kind::ConnectFailed | Kind::BindFailed);
        let is_of_ports = event.errno.is_none_or(Errno::is_of_ports);
        (!is_failure || is_of_ports || self.failures != Some(Failures::Ports))
            && any(&self.roles, |role| *role == event.role)
            && any(&self.reasons, |reason| Some(*reason) == event.reason)
    }
}

/// Flags as [`Filter::words`] has them, for people: network namespaces by what they are called, where `name` knows it, and each flag once.
pub fn by_name(words: impl IntoIterator<Item = String>, name: impl Fn(u32) -> Option<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let named = words.into_iter().map(|word| {
        let name = word.strip_prefix("--netns ").and_then(|inode| name(inode.parse().ok()?));
        name.map_or(word, |name| format!("--netns {name}"))
    });
    named.filter(|word| seen.insert(word.clone())).collect()
}

/// Whether a process is in one of these cgroups; `None` where that is not known, and it is in none that is known.
fn in_one(cgroups: &[CgroupFilter], holds: impl Fn(&CgroupFilter) -> Option<bool>) -> Option<bool> {
    let mut is_in = Some(false);
    for cgroup in cgroups {
        match holds(cgroup) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => is_in = None,
        }
    }
    is_in
}

fn any<T>(list: &[T], matches: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}

impl CgroupFilter {
    /// Whether a process is in one of these; `None` where its cgroup is not known.
    fn holds(&self, owner: &Process, path: Option<&str>) -> Option<bool> {
        if self.leaf_id == Some(owner.cgroup_id) {
            return Some(true);
        }
        path.map(|path| self.is_above(path))
    }

    /// Whether `path` is one of these or lies below one.
    pub fn is_above(&self, path: &str) -> bool {
        let mut ends = path.match_indices('/').map(|(at, _)| at.max(1)).chain([path.len()]);
        ends.any(|end| self.path.matches(&path[..end]))
    }
}

#[cfg(test)]
mod tests;
