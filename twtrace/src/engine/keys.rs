//! Owns: what rows are named by.
//! Must not know: what is counted in a row.

use std::net::IpAddr;

use serde::Serialize;

use crate::model::event::{Comm, Conn, Process};

/// A process for good: a pid is used again, a pid with its start is not; after exec() it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// What user space calls pid.
    pub pid: u32,
    /// See [`Process::start_ns`].
    pub start_ns: u64,
    /// Its name. Hostile until escaped.
    pub comm: Comm,
}

impl ProcessKey {
    /// Nobody knows: the sockets that were there before twtrace began, and those whose owner was lost.
    pub const UNKNOWN: Self = Self { pid: 0, start_ns: 0, comm: Comm::NONE };

    /// Whether this stands for sockets without a known owner.
    pub fn is_unknown(&self) -> bool {
        *self == Self::UNKNOWN
    }
}

impl From<&Process> for ProcessKey {
    fn from(process: &Process) -> Self {
        Self { pid: process.pid, start_ns: process.start_ns, comm: process.comm }
    }
}

/// The pool a client's ephemeral ports come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TupleKey {
    /// Inode of the network namespace.
    pub netns: u32,
    /// Local address.
    pub saddr: IpAddr,
    /// Remote address.
    pub daddr: IpAddr,
    /// Remote port.
    pub dport: u16,
}

impl From<&Conn> for TupleKey {
    fn from(conn: &Conn) -> Self {
        Self { netns: conn.netns, saddr: conn.saddr, daddr: conn.daddr, dport: conn.dport }
    }
}

/// A local port that connections come in on, or that could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PortKey {
    /// Inode of the network namespace.
    pub netns: u32,
    /// Local port.
    pub sport: u16,
}

/// What a process deals with: a remote end that it connects to, or a local port that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// It is the client, or nobody knows.
    Tuple(TupleKey),
    /// It is the server, or failed to become it.
    Port(PortKey),
}

/// Names any row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// A process.
    Process(ProcessKey),
    /// A pool of ports.
    Tuple(TupleKey),
    /// A remote address.
    Peer(IpAddr),
    /// A served port.
    Port(PortKey),
    /// A container by its display name, such as `docker:0123456789ab`; `None` is the host.
    Container(Option<String>),
    /// A network namespace by its inode.
    Netns(u32),
}

/// The kinds of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// One row a process.
    Process,
    /// One row a pool of ports.
    Tuple,
    /// One row a remote address.
    Peer,
    /// One row a served port.
    Port,
    /// One row a container.
    Container,
    /// One row a network namespace.
    Netns,
}

crate::model::words!(By, ALL, {
    Process => "processes", Tuple => "tuples", Peer => "peers", Port => "ports", Container => "containers", Netns => "netns",
});
