//! Owns: the tables that events are counted in, and what their rows are.
//! Must not know: what is counted.

use super::key::RowId;

/// Tables that events are counted in: places among the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Process,
    Tuple,
    Peer,
    Port,
    Container,
    Netns,
    /// A process and what it deals with.
    Link,
}

impl Table {
    pub(crate) const ALL: [Self; TABLES] =
        [Self::Process, Self::Tuple, Self::Peer, Self::Port, Self::Container, Self::Netns, Self::Link];
}

pub(super) const TABLES: usize = 7;
/// In no row, or on no tuple.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// How many sockets live in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Living {
    pub(crate) now: u32,
    pub(crate) most: u32,
}

impl Living {
    pub(super) fn enter(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    pub(super) fn leave(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

/// A row of a table.
#[derive(Debug)]
pub(crate) struct TableRow {
    pub(crate) id: RowId,
    pub(crate) table: Table,
    /// Number of a tuple's pool of ports.
    pub(super) pool: u32,
    /// A process that does not exist any more.
    pub(crate) gone: bool,
}

impl TableRow {
    /// Number of its pool of ports; `None` for all but a tuple.
    pub(crate) fn pool(&self) -> Option<u32> {
        Some(self.pool).filter(|pool| *pool != NOWHERE)
    }
}
