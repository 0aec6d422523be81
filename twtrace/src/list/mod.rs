//! Owns: the TIME_WAIT sockets that exist now, as the kernel lists them, without any tracing.
//! Must not know: hooks, events as they happen, the command line.

mod json;
mod look;
mod pools;
mod summary;
mod text;

pub use json::{socket_line, summary_line};
pub use look::{Choice, Note, Seen, look};
pub use pools::{Pool, pools};
pub use summary::{Place, Summary};
pub use text::{summary_text, table};

use crate::event::{Event, Kind, Role, Substate};
use crate::filter::Filter;
use crate::net::sockdiag::DiagSocket;

/// A TIME_WAIT socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// Inode of its network namespace.
    pub netns: u32,
    /// The socket as listed.
    pub local: End,
    /// The other end.
    pub remote: End,
    /// What it is in.
    pub substate: Substate,
    /// `server` where somebody listens on its local port, else `unknown`.
    pub role: Role,
    /// Time until its timer fires, in milliseconds.
    pub expires_ms: u32,
    /// The number that `ss -e` prints as `sk:`; 0 for none.
    pub cookie: u64,
    /// Interface that it is bound to, 0 for none.
    pub ifindex: u32,
    /// That interface's name, in the namespace's own words. Hostile until escaped.
    pub ifname: Option<String>,
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
    fn of(netns: u32, socket: &DiagSocket, is_served: bool, ifname: Option<String>) -> Self {
        Self {
            netns,
            local: End { address: socket.local_ip(), port: socket.sport },
            remote: End { address: socket.remote_ip(), port: socket.dport },
            substate: socket.substate(),
            role: if is_served { Role::Server } else { Role::Unknown },
            expires_ms: socket.expires_ms,
            cookie: socket.cookie,
            ifindex: socket.ifindex,
            ifname,
        }
    }
}

/// Whether a filter lets a socket pass. What it asks about owners, no listing can answer.
fn passes(filter: &Filter, netns: u32, socket: &DiagSocket, is_served: bool) -> bool {
    let mut event = Event::new(Kind::Ended, 0, Some(socket.conn(netns)));
    event.role = if is_served { Role::Server } else { Role::Unknown };
    filter.passes(&event)
}

#[cfg(test)]
mod tests;
