//! Owns: the TIME_WAIT sockets that exist now, as the kernel lists them, without any tracing; with their owners where a trace or a
//! recording knows them.
//! Must not know: hooks, events as they happen, the command line.

mod gather;
mod json;
mod owners;
mod summary;
mod text;

pub use gather::{Choice, Listed, NetnsSockets, listed, sockets_in};
pub use json::{limitation_line, socket_line, summary_line};
pub use owners::{Note, Owners};
pub use summary::{Elsewhere, NetnsCount, PoolPressure, Summary, pools};
pub use text::{summary_text, table};

use crate::engine::Live;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::event::{Event, Kind, Role, Substate};
use crate::model::filter::Filter;

/// A TIME_WAIT socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Inode of its network namespace.
    pub netns: u32,
    /// The socket as listed.
    pub local: End,
    /// The other end.
    pub remote: End,
    /// It is an IPv6 socket, though its ends are IPv4.
    pub is_mapped: bool,
    /// What it is in.
    pub substate: Substate,
    /// `server` where somebody listens on its local port, else what is known of it.
    pub role: Role,
    /// Time until its timer fires, in milliseconds.
    pub expires_ms: u32,
    /// The number that `ss -e` prints as `sk:`; 0 for none.
    pub cookie: u64,
    /// Interface that it is bound to, 0 for none.
    pub ifindex: u32,
    /// That interface's name, in the namespace's own words. Hostile until escaped.
    pub ifname: Option<String>,
    /// What a trace or a recording knows of it.
    pub known: Option<Live>,
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The address; IPv4 for a v4-mapped IPv6 socket.
    pub address: std::net::IpAddr,
    /// The port.
    pub port: u16,
}

impl Socket {
    fn of(netns: u32, socket: &DiagSocket, role: Role, ifname: Option<String>, known: Option<Live>) -> Self {
        Self {
            netns,
            local: End { address: socket.local_ip(), port: socket.sport },
            remote: End { address: socket.remote_ip(), port: socket.dport },
            is_mapped: socket.is_mapped,
            substate: socket.substate(),
            role,
            expires_ms: socket.expires_ms,
            cookie: socket.cookie,
            ifindex: socket.ifindex,
            ifname,
            known,
        }
    }

    /// The order in which sockets are shown.
    fn order(&self) -> impl Ord + use<> {
        (self.netns, self.local, self.remote, self.substate, self.cookie, self.ifindex)
    }
}

fn role(is_served: bool, known: Option<&Live>) -> Role {
    if is_served { Role::Server } else { known.map_or(Role::Unknown, |live| live.role) }
}

/// Whether a filter lets a socket pass. Who owns it, no listing can say: that must be known from elsewhere.
fn passes(filter: &Filter, netns: u32, socket: &DiagSocket, is_served: bool, known: Option<&Live>) -> bool {
    let mut event = Event::new(Kind::Ended, 0, Some(socket.conn(netns)));
    event.role = role(is_served, known);
    if let Some(live) = known {
        event.owner = live.owner;
        event.identity = live.identity.clone();
    }
    filter.passes(&event)
}

#[cfg(test)]
mod tests;
