//! Owns: an event as it is counted: addresses and texts are numbers of the interners.
//! Must not know: what is counted, where events come from.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::intern::NONE;
use crate::model::event::{AbortWhy, Errno, Event, Kind, PortVia, Reason, Role, Substate, Via};

/// Who closed a connection, or called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    /// When it started, CLOCK_BOOTTIME in nanoseconds.
    pub(crate) start: u64,
    pub(crate) comm: u32,
    pub(crate) uid: u32,
    pub(crate) cgroup: u32,
    pub(crate) container: u32,
}

/// No process has it: `PID_MAX_LIMIT` (include/linux/threads.h, 5.10 to 7.3) is 4,194,304.
const NO_PID: u32 = u32::MAX;

impl Owner {
    /// Stands for processes that are gone and of which nobody speaks any more; what they did still counts wherever else it does.
    pub(crate) fn forgotten(&self) -> Self {
        Self { pid: NO_PID, start: 0, comm: NONE, uid: 0, ..*self }
    }

    /// See [`Self::forgotten`].
    pub(crate) fn is_forgotten(&self) -> bool {
        self.pid == NO_PID
    }
}

/// The numbers of what an event names; none, where nobody asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Named {
    pub(crate) saddr: u32,
    pub(crate) daddr: u32,
    pub(crate) owner: Option<Owner>,
    /// Program of the owner.
    pub(crate) exe: u32,
}

const _: () = assert!(NONE == 0, "nothing is named by default");

/// See the head of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// CLOCK_MONOTONIC.
    pub(crate) mono_ns: u64,
    pub(crate) netns: u32,
    pub(crate) saddr: u32,
    pub(crate) daddr: u32,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) role: Role,
    pub(crate) substate: Option<Substate>,
    pub(crate) timeout_ms: u32,
    pub(crate) owner: Option<Owner>,
    /// Program of the owner.
    pub(crate) exe: u32,
    pub(crate) via: Option<Via>,
    pub(crate) age_us: Option<u64>,
    pub(crate) sent: Option<u64>,
    pub(crate) received: Option<u64>,
    pub(crate) reason: Option<Reason>,
    pub(crate) errno: Option<Errno>,
    pub(crate) port_via: Option<PortVia>,
    pub(crate) reuseaddr: Option<bool>,
    /// See `Event::own_range`.
    pub(crate) own_range: Option<(u16, u16)>,
    pub(crate) why: Option<AbortWhy>,
    pub(crate) lifetime_ms: Option<u64>,
}

impl Row {
    /// One of which nothing but its kind and time is known.
    #[inline]
    pub(crate) fn new(kind: Kind, mono_ns: u64) -> Self {
        Self {
            kind,
            mono_ns,
            netns: 0,
            saddr: NONE,
            daddr: NONE,
            sport: 0,
            dport: 0,
            role: Role::usual(kind),
            substate: None,
            timeout_ms: 0,
            owner: None,
            exe: NONE,
            via: None,
            age_us: None,
            sent: None,
            received: None,
            reason: None,
            errno: None,
            port_via: None,
            reuseaddr: None,
            own_range: None,
            why: None,
            lifetime_ms: None,
        }
    }

    /// An event, and the numbers of what it names.
    #[inline]
    pub(crate) fn of(event: &Event, Named { saddr, daddr, owner, exe }: Named) -> Option<Self> {
        let conn = event.conn.as_ref()?;
        Some(Self {
            netns: conn.netns,
            sport: conn.sport,
            dport: conn.dport,
            role: event.role,
            substate: event.substate,
            timeout_ms: event.timeout_ms.unwrap_or(0),
            via: event.via,
            age_us: event.age_ns.map(|age_ns| age_ns / 1000),
            sent: event.bytes_sent,
            received: event.bytes_received,
            reason: event.reason,
            errno: event.errno,
            port_via: event.port_via,
            reuseaddr: event.reuseaddr,
            own_range: event.own_range,
            why: event.why,
            lifetime_ms: event.lifetime_ns.map(|lifetime_ns| lifetime_ns / 1_000_000),
            saddr,
            daddr,
            owner,
            exe,
            ..Self::new(event.kind, event.mono_ns)
        })
    }

    /// Whether a call failed for another reason than ports. Of bind(), an address that is not here is one.
    #[inline]
    pub(crate) fn failed_otherwise(&self) -> bool {
        let Some(errno) = self.errno else { return false };
        match self.kind {
            Kind::ConnectFailed => !errno.is_of_ports(),
            Kind::BindFailed => errno != Errno::AddrInUse,
            _ => false,
        }
    }
}

/// An address as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) IpAddr);

// One word, as each event looks up two: what is derived has a length and the name of a variant besides.
impl Hash for Address {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            IpAddr::V4(address) => state.write_u32(address.to_bits()),
            IpAddr::V6(address) => state.write_u128(address.to_bits()),
        }
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        *address
    }
}

/// A client's row of which little is known.
#[cfg(test)]
pub(crate) fn sample(kind: Kind) -> Row {
    let conn = Row { netns: 7, saddr: 2, daddr: 3, sport: 40_000, dport: 80, ..Row::new(kind, 1) };
    Row { role: Role::Client, ..conn }
}
