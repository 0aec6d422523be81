//! Owns: what an event is counted under: everything that any table could ask about it, but the port that differs from
//! connection to connection.
//! Must not know: what is counted.
//!
//! An event is counted once, under its key; tables are added up from keys at the end. So an event costs the same however many
//! tables are wanted.

use std::hash::{Hash, Hasher};

use super::intern::{NONE, OTHERS};
use super::row::{Owner, Row};
use crate::model::event::{Kind, Role};

/// What a connection's ports mean, which decides on the tables that it is in: the same rules as the live view's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// This end connected, or nobody knows: it draws from a pool.
    Tuple,
    /// This end was connected to.
    Port,
    /// A port could not be bound.
    Bind,
    /// An end whose birth nobody saw: nothing but its network namespace is certain.
    Unborn,
    /// No room to tell it apart.
    Others,
}

/// See the head of the file. Numbers are the interners'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) owner: Option<Owner>,
    pub(crate) role: Role,
    pub(crate) side: Side,
    pub(crate) netns: u32,
    /// [`NONE`] where it does not matter.
    pub(crate) saddr: u32,
    pub(crate) daddr: u32,
    /// Remote port of a pool, local port of a server, else 0.
    pub(crate) port: u16,
}

// In few words, as each event is looked up by its key: what is derived would be a dozen.
impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let pair = |one: u32, other: u32| u64::from(one) << 32 | u64::from(other);
        if let Some(Owner { pid, start, comm, uid, cgroup, container }) = self.owner {
            state.write_u64(pair(pid, comm));
            state.write_u64(start);
            state.write_u64(pair(uid, cgroup));
            state.write_u64(container.into());
        }
        let what = u32::from(self.port) << 16 | (self.role as u32) << 8 | self.side as u32;
        state.write_u64(pair(self.saddr, self.daddr));
        state.write_u64(pair(self.netns, what));
    }
}

impl Key {
    #[inline]
    pub(crate) fn of(row: &Row) -> Self {
        let side = match (row.kind, row.role) {
            (Kind::BindFailed, _) => Side::Bind,
            // Who sends a SYN has a port of no meaning.
            (Kind::SynRefused, _) => Side::Port,
            (Kind::Ended, _) if row.via.is_none() => Side::Unborn,
            (Kind::ConnectFailed, _) | (_, Role::Client | Role::Unknown) => Side::Tuple,
            (_, Role::Server) => Side::Port,
        };
        let (saddr, port) = match side {
            Side::Tuple => (row.saddr, row.dport),
            Side::Port => (NONE, row.sport),
            Side::Bind => (row.saddr, row.sport),
            Side::Unborn | Side::Others => (NONE, 0),
        };
        Self { owner: row.owner, role: row.role, side, netns: row.netns, saddr, daddr: row.daddr, port }
    }

    /// What stands for all of a network namespace that is not told apart.
    pub(crate) fn of_netns(netns: u32) -> Self {
        Self {
            owner: None,
            role: Role::Unknown,
            side: Side::Others,
            netns,
            saddr: NONE,
            daddr: OTHERS,
            port: 0,
        }
    }

    /// What stands in for a key that there is no room for.
    pub(crate) fn others(&self) -> Self {
        Self::of_netns(self.netns)
    }

    /// As [`Key::others`], where there are too many namespaces as well.
    pub(crate) fn others_anywhere(&self) -> Self {
        Self { netns: 0, ..self.others() }
    }

    pub(crate) fn process(&self) -> RowId {
        match (self.side, self.owner) {
            (Side::Unborn, _) => RowId::None,
            (Side::Others, _) => RowId::Others,
            (_, None) => RowId::Process { pid: 0, start: 0, comm: NONE },
            (_, Some(owner)) if owner.is_forgotten() => RowId::None,
            (_, Some(Owner { pid, start, comm, .. })) => RowId::Process { pid, start, comm },
        }
    }

    pub(crate) fn tuple(&self) -> RowId {
        let Self { netns, saddr, daddr, port, .. } = *self;
        match self.side {
            Side::Tuple if saddr == OTHERS || daddr == OTHERS => RowId::Others,
            Side::Tuple => RowId::Tuple { netns, saddr, daddr, port },
            Side::Others => RowId::Others,
            Side::Port | Side::Bind | Side::Unborn => RowId::None,
        }
    }

    pub(crate) fn port(&self) -> RowId {
        match self.side {
            // Any port would have done: no port to blame.
            Side::Bind if self.port == 0 => RowId::None,
            Side::Port | Side::Bind => RowId::Port { netns: self.netns, port: self.port },
            Side::Tuple | Side::Unborn | Side::Others => RowId::None,
        }
    }

    pub(crate) fn peer(&self) -> RowId {
        match self.side {
            Side::Tuple | Side::Port if self.daddr == OTHERS => RowId::Others,
            Side::Tuple | Side::Port => RowId::Peer(self.daddr),
            Side::Others => RowId::Others,
            Side::Bind | Side::Unborn => RowId::None,
        }
    }

    pub(crate) fn container(&self) -> RowId {
        match (self.side, self.owner) {
            (Side::Others, _) => RowId::Others,
            (Side::Unborn, _) | (_, None) => RowId::None,
            // Without a cgroup, nobody knows whether it is in a container.
            (_, Some(Owner { cgroup: NONE, .. })) => RowId::None,
            (_, Some(Owner { container, .. })) => RowId::Container(container),
        }
    }

    pub(crate) fn netns(&self) -> RowId {
        match (self.side, self.netns) {
            (Side::Others, 0) => RowId::Others,
            (_, netns) => RowId::Netns(netns),
        }
    }
}

/// Names a row of any table, in the interners' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowId {
    /// In no row of that table.
    None,
    /// The row of all that there was no room for.
    Others,
    Process {
        pid: u32,
        start: u64,
        comm: u32,
    },
    Tuple {
        netns: u32,
        saddr: u32,
        daddr: u32,
        port: u16,
    },
    Port {
        netns: u32,
        port: u16,
    },
    Peer(u32),
    /// [`NONE`] is the host.
    Container(u32),
    Netns(u32),
    /// Numbers of the rows of a process, and of a tuple or a port.
    Link {
        process: u32,
        target: u32,
    },
}
