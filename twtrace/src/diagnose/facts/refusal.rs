//! Owns: calls that failed: bind() for want of a port, any call for another reason.
//! Must not know: where they were seen, what they mean.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{Process, Ranged};
use crate::model::event::{Errno, PortVia};

/// bind() or listen() failed because the port is taken, or all are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BindFailure {
    /// The address asked for, where that is known.
    pub saddr: Option<IpAddr>,
    /// The port asked for; 0 for any.
    pub port: u16,
    /// How often.
    pub failed: u64,
    /// Of those, with SO_REUSEADDR set on the socket.
    pub reuseaddr: u64,
    /// Of those, without; of the rest it is not known.
    pub no_reuseaddr: u64,
    /// What their sockets say of a range of their own.
    pub ranged: Ranged,
    /// Who asked.
    pub caller: Process,
    /// How many destinations this caller has connections to from this address.
    pub destinations: u32,
}

impl BindFailure {
    /// Whether the kernel was to choose the port, and had none.
    pub fn is_for_any(&self) -> bool {
        self.port == 0
    }
}

/// A client's TIME_WAIT socket that held a port which bind() was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outgoing {
    /// Whose it was.
    pub process: Process,
    /// Where its connection went.
    pub daddr: IpAddr,
    /// To which port.
    pub dport: u16,
    /// It is known to have gone out; else only that nobody saw it come in.
    pub is_client: bool,
    /// Whether it is known to have asked for the port itself: `None` where nobody knows.
    pub is_bound: Option<bool>,
    /// How long it had left when bind() failed for the last time, in milliseconds.
    pub left_ms: u64,
}

impl Outgoing {
    /// What is known of how it had its port.
    pub(super) fn is_bound(via: Option<PortVia>) -> Option<bool> {
        via.map(|via| matches!(via, PortVia::Bind | PortVia::BindAny))
    }
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// connect().
    Connect,
    /// bind() or listen().
    Bind,
}

/// Calls of one process that failed with one errno that is not of ports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// Which call.
    pub call: Call,
    /// What it returned.
    #[serde(serialize_with = "word")]
    pub errno: Errno,
    /// Of connect() the remote address, of bind() the local one.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How often.
    pub failed: u64,
    /// Who asked.
    pub caller: Process,
}

fn word<S: Serializer>(errno: &Errno, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(errno.word())
}
