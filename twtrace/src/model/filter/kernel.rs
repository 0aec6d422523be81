//! Owns: the part of a filter that the kernel decides.
//! Must not know: aya, how the kernel side does it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use twtrace_common::config::{FILTER_VALUES, Filter as WireFilter, Network, Used};
use twtrace_common::wire::{ROLE_CLIENT, ROLE_SERVER, ROLE_UNKNOWN, words_of_bytes};

use super::glob::Decided;
use super::{Failures, Filter, Glob, any};
use crate::model::event::Role;

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

    /// Whether it matters in which cgroup an owner is.
    pub const fn by_cgroup(&self) -> bool {
        self.wire.by_cgroup != 0
    }
}

impl Filter {
    /// What of this the kernel can decide. A list of wanted values that is too long for it is left to [`Filter::passes`], and so are
    /// unwanted ones that do not fit behind it, and what lies between the ends of a name's pattern. Which cgroups are left out is found as they
    /// are met ([`Filter::leaves_out`]).
    pub fn kernel(&self) -> KernelFilter {
        let mut wire = WireFilter::default();
        let not = &self.not;
        wire.n_pids = fill(&mut wire.pids, &self.pids, &not.pids);
        wire.n_uids = fill(&mut wire.uids, &self.uids, &[]);
        wire.n_netns = fill(&mut wire.netns, &self.netns, &[]);
        wire.n_sports = fill(&mut wire.sports, &self.sports, &[]);
        wire.n_dports = fill(&mut wire.dports, &self.dports, &[]);
        wire.n_ports = fill(&mut wire.ports, &self.ports, &not.ports);
        wire.by_cgroup = !(self.cgroups.is_empty() && not.cgroups.is_empty()) as u8;
        let networks = |nets: &[IpNet]| nets.iter().copied().map(mapped).collect::<Vec<_>>();
        let mut unwanted = not.peers.clone();
        // More than it says would be left out: there IPv4 is a part of it.
        unwanted.retain(|net| !net.contains(&IpAddr::from(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())));
        wire.n_peers = fill(&mut wire.peers, &networks(&self.peers), &networks(&unwanted));
        let decided = |names: &[Glob]| names.iter().map(Glob::decided).collect::<Vec<_>>();
        let mut unwanted = decided(&not.comms);
        // More than it says would be left out.
        unwanted.retain(|decided| decided.exactly);
        let patterns = |names: Vec<Decided>| names.into_iter().map(|name| name.pattern).collect::<Vec<_>>();
        wire.n_comms = fill(&mut wire.comms, &patterns(decided(&self.comms)), &patterns(unwanted));
        wire.tails = wire.comms.iter().any(|name| name.tail_mask != [0; 2]).into();
        wire.family = self.family.unwrap_or(0);
        wire.roles = self.roles.iter().fold(0, |bits, role| bits | 1 << number(*role));
        wire.failures_all = (self.failures == Some(Failures::All)).into();
        let lists = [wire.n_pids, wire.n_uids, wire.n_comms];
        let by_owner = lists.iter().any(|used| used.all() != 0) || wire.by_cgroup != 0;
        // Sockets that were there before may be told with any other role than a client's, and then their ends are wanted.
        let track_live = by_owner || wire.roles == 1 << ROLE_CLIENT;
        KernelFilter { wire, track_live, beside: self.beside() }
    }

    /// A failure of bind() has no reason and no role; a client's connection was not accepted.
    fn beside(&self) -> Beside {
        Beside {
            binds: self.reasons.is_empty() && any(&self.roles, |role| *role == Role::Unknown),
            accepts: any(&self.roles, |role| *role != Role::Client),
        }
    }
}

const fn number(role: Role) -> u8 {
    match role {
        Role::Unknown => ROLE_UNKNOWN,
        Role::Client => ROLE_CLIENT,
        Role::Server => ROLE_SERVER,
    }
}

/// All wanted values or none of them, and behind them as many unwanted ones as there is room for.
fn fill<T: Copy>(slots: &mut [T; FILTER_VALUES], wanted: &[T], unwanted: &[T]) -> Used {
    let wanted = if wanted.len() > FILTER_VALUES { &[] } else { wanted };
    let unwanted = &unwanted[..unwanted.len().min(FILTER_VALUES - wanted.len())];
    slots.iter_mut().zip(wanted.iter().chain(unwanted)).for_each(|(slot, value)| *slot = *value);
    Used::new(wanted.len() as u8, unwanted.len() as u8)
}

/// A network and its mask as the kernel side compares them: IPv4 mapped into IPv6.
fn mapped(net: IpNet) -> Network {
    let (address, mask) = match net {
        IpNet::V4(net) => {
            let mut mask = [0xff; 16];
            mask[12..].copy_from_slice(&net.netmask().octets());
            (net.network().to_ipv6_mapped().octets(), mask)
        }
        IpNet::V6(net) => (net.network().octets(), net.netmask().octets()),
    };
    Network { address: words_of_bytes(address), mask: words_of_bytes(mask) }
}
