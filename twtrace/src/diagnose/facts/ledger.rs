//! Owns: what was on the ports of a namespace at one moment, by name.
//! Must not know: how that was kept.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Process;
use crate::engine::TupleKey;
use crate::model::event::{PortVia, Substate};

/// Where a connect() goes. A failed one may not have come as far as to have a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    /// Inode of the network namespace.
    pub(super) netns: u32,
    /// Remote address.
    pub(super) daddr: IpAddr,
    /// Remote port.
    pub(super) dport: u16,
}

impl From<&TupleKey> for Destination {
    fn from(key: &TupleKey) -> Self {
        Self { netns: key.netns, daddr: key.daddr, dport: key.dport }
    }
}

/// A port that a client's TIME_WAIT socket holds.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    /// Where its connection went.
    pub(super) tuple: TupleKey,
    /// It is known to be a client's.
    pub(super) is_client: bool,
    /// What it was in when it was made.
    pub(super) substate: Substate,
    /// How it had its port.
    pub(super) via: Option<PortVia>,
    /// Whose it was; nobody's where that is not known.
    pub(super) who: Process,
}

/// Every port that a namespace's TIME_WAIT sockets held when connect() failed.
pub(super) type Moment = BTreeMap<u16, Vec<Holding>>;
