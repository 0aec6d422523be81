//! Owns: which events a user wants to see, decided twice from one definition: in the kernel where it can be, so that the
//! rest costs nothing to carry, and here for whatever the kernel cannot decide and for recordings.
//! Must not know: the command line, aya.

use ipnet::IpNet;
use twtrace_common::config::{FILTER_VALUES, Filter as WireFilter};
use twtrace_common::wire::{ROLE_CLIENT, ROLE_SERVER, ROLE_UNKNOWN, words_of_bytes};

use crate::model::event::{Comm, Errno, Event, Kind, Reason, Role};

/// A cgroup and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFilter {
    /// Path in the cgroup v2 hierarchy, starting with `/`.
    pub path: String,
    /// Its id, where it is a leaf that exists now: then the kernel can decide.
    pub leaf_id: Option<u64>,
}

/// What a user wants to see. An empty list lets everything pass; within a list one match is enough, and every list
/// must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Owner's pid (the caller's for failures).
    pub pids: Vec<u32>,
    /// Owner's name, whole.
    pub comms: Vec<String>,
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
    /// Which failures of connect() and bind().
    pub failures: Failures,
}

/// Which failures of calls are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failures {
    /// Those that say that there was no port to be had.
    #[default]
    Ports,
    /// Whatever the call returned.
    All,
}

/// The part that the kernel decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    /// As it travels.
    pub wire: WireFilter,
    /// The kernel side must remember which TIME_WAIT sockets passed: their end does not say who owned them.
    pub track_live: bool,
    /// What has hooks of its own that can be left out.
    pub beside: Beside,
}

/// What else can pass, and would need hooks of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Failures of bind() and listen() can pass.
    pub binds: bool,
    /// Connections that were accepted can pass, and so it matters who did that.
    pub accepts: bool,
}

impl Default for Beside {
    fn default() -> Self {
        Self { binds: true, accepts: true }
    }
}

impl KernelFilter {
    /// Whether failures travel whatever their errno is.
    pub const fn failures_all(&self) -> bool {
        self.wire.failures_all != 0
    }
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The flags that ask for this, one each: `--dport 80`. Namespaces are told by their inodes.
    pub fn words(&self) -> Vec<String> {
        fn each<'a, T: ToString>(flag: &'a str, list: &'a [T]) -> impl Iterator<Item = String> + 'a {
            list.iter().map(move |value| format!("{flag} {}", value.to_string()))
        }
        let cgroups = self.cgroups.iter().map(|cgroup| format!("--cgroup {}", cgroup.path));
        each("--pid", &self.pids)
            .chain(each("--comm", &self.comms))
            .chain(each("--uid", &self.uids))
            .chain(cgroups)
            .chain(each("--netns", &self.netns))
            .chain(each("--sport", &self.sports))
            .chain(each("--dport", &self.dports))
            .chain(each("--port", &self.ports))
            .chain(each("--peer", &self.peers))
            .chain(self.family.map(|family| format!("-{family}")))
            .chain(each("--role", &self.roles))
            .chain(each("--reason", &self.reasons))
            .chain((self.failures == Failures::All).then(|| "--failures all".to_owned()))
            .collect()
    }

    /// Whether only whole network namespaces are picked: then the kernel's books can still be compared.
    pub fn only_netns(&self) -> bool {
        Self { netns: Vec::new(), failures: Failures::Ports, ..self.clone() }.is_empty()
    }

    /// Whether connections alone decide: nothing is asked about owners, roles or reasons.
    pub fn only_conn(&self) -> bool {
        let Self { pids, comms, uids, cgroups, roles, reasons, .. } = self;
        pids.is_empty()
            && comms.is_empty()
            && uids.is_empty()
            && cgroups.is_empty()
            && roles.is_empty()
            && reasons.is_empty()
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
        any(&self.netns, |inode| *inode == conn.netns)
            && any(&self.sports, |port| *port == conn.sport)
            && any(&self.dports, |port| *port == conn.dport)
            && any(&self.ports, |port| *port == conn.sport || *port == conn.dport)
            && any(&self.peers, |net| net.contains(&conn.daddr))
            && self.family.is_none_or(|family| (family == 4) == conn.saddr.is_ipv4())
    }

    fn owner_passes(&self, event: &Event) -> bool {
        if self.pids.is_empty() && self.comms.is_empty() && self.uids.is_empty() && self.cgroups.is_empty() {
            return true;
        }
        let Some(owner) = &event.owner else { return false };
        any(&self.pids, |pid| *pid == owner.pid)
            && any(&self.comms, |comm| Comm::new(comm) == owner.comm)
            && any(&self.uids, |uid| *uid == owner.uid)
            && any(&self.cgroups, |cgroup| {
                cgroup.leaf_id == Some(owner.cgroup_id)
                    || event
                        .identity
                        .as_ref()
                        .and_then(|identity| identity.cgroup.as_deref())
                        .is_some_and(|path| below(path, &cgroup.path))
            })
    }

    fn outcome_passes(&self, event: &Event) -> bool {
        let is_failure = matches!(event.kind, Kind::ConnectFailed | Kind::BindFailed);
        let is_of_ports = event.errno.is_none_or(Errno::is_of_ports);
        (!is_failure || is_of_ports || self.failures == Failures::All)
            && any(&self.roles, |role| *role == event.role)
            && any(&self.reasons, |reason| Some(*reason) == event.reason)
    }

    /// A failure of bind() has no reason and no role; a client's connection was not accepted.
    fn beside(&self) -> Beside {
        Beside {
            binds: self.reasons.is_empty() && any(&self.roles, |role| *role == Role::Unknown),
            accepts: any(&self.roles, |role| *role != Role::Client),
        }
    }

    /// What of this the kernel can decide. A list that is too long for it is left to [`Filter::passes`].
    pub fn kernel(&self) -> KernelFilter {
        let mut wire = WireFilter::default();
        fill(&self.pids, &mut wire.pids, &mut wire.n_pids);
        fill(&self.uids, &mut wire.uids, &mut wire.n_uids);
        fill(&self.netns, &mut wire.netns, &mut wire.n_netns);
        fill(&self.sports, &mut wire.sports, &mut wire.n_sports);
        fill(&self.dports, &mut wire.dports, &mut wire.n_dports);
        fill(&self.ports, &mut wire.ports, &mut wire.n_ports);
        let leaves: Option<Vec<u64>> = self.cgroups.iter().map(|cgroup| cgroup.leaf_id).collect();
        fill(&leaves.unwrap_or_default(), &mut wire.cgroups, &mut wire.n_cgroups);
        wire.family = self.family.unwrap_or(0);
        if let [comm] = self.comms.as_slice() {
            wire.comm = Comm::new(comm).0;
            wire.has_comm = 1;
        }
        if let [net] = self.peers.as_slice() {
            let (peer, mask) = mapped(*net);
            (wire.peer, wire.peer_mask) = (words_of_bytes(peer), words_of_bytes(mask));
            wire.has_peer = 1;
        }
        if let [role] = self.roles.as_slice() {
            wire.role = 1 + match role {
                Role::Unknown => ROLE_UNKNOWN,
                Role::Client => ROLE_CLIENT,
                Role::Server => ROLE_SERVER,
            };
        }
        wire.failures_all = (self.failures == Failures::All).into();
        let track_live = wire.n_pids != 0
            || wire.n_uids != 0
            || wire.n_cgroups != 0
            || wire.has_comm != 0
            || wire.role != 0;
        KernelFilter { wire, track_live, beside: self.beside() }
    }
}

fn any<T>(list: &[T], matches: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}

/// Whether `path` is `above` or lies below it.
fn below(path: &str, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn fill<T: Copy>(values: &[T], slots: &mut [T; FILTER_VALUES], count: &mut u8) {
    if values.len() <= FILTER_VALUES {
        slots[..values.len()].copy_from_slice(values);
        *count = values.len() as u8;
    }
}

/// A network and its mask as the kernel side compares them: IPv4 mapped into IPv6.
fn mapped(net: IpNet) -> ([u8; 16], [u8; 16]) {
    match net {
        IpNet::V4(net) => {
            let mut mask = [0xff; 16];
            mask[12..].copy_from_slice(&net.netmask().octets());
            (net.network().to_ipv6_mapped().octets(), mask)
        }
        IpNet::V6(net) => (net.network().octets(), net.netmask().octets()),
    }
}

#[cfg(test)]
mod tests;
