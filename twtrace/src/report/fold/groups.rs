//! Owns: what is counted under each key, and how many sockets live in each row of each table.
//! Must not know: what keys and rows are called.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::intern::Hasher;
use super::key::{Key, RowKey, Side};
use super::ports::Ports;
use super::spread::Spread;
use super::{Limits, Row};
use crate::event::{Kind, Reason, Role, Substate, Via};
use crate::tracker::Counts;

/// Tables that sockets live in, as places in [`Group::rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Table {
    Process,
    Tuple,
    Peer,
    Port,
    Container,
    Netns,
}

const TABLES: usize = 6;
/// In no row, or on no tuple.
const NOWHERE: u32 = u32::MAX;

/// What is counted under one key.
#[derive(Debug)]
pub(in crate::report) struct Group {
    pub(in crate::report) key: Key,
    /// Numbers of its rows, by [`Table`].
    rows: [u32; TABLES],
    /// The filter lets it pass.
    pub(super) passes: bool,
    /// Program of the owner, when last said.
    pub(in crate::report) exe: u32,
    pub(in crate::report) counts: Counts,
    /// Created, by role.
    pub(in crate::report) roles: [u64; 3],
    /// Created as orphans that wait for their peer's FIN.
    pub(in crate::report) fin_wait2: u64,
    /// Created, by how the owner is known, in the order of `Via::ALL`.
    pub(in crate::report) via: [u64; Via::ALL.len()],
    /// CLOCK_MONOTONIC in nanoseconds, 0 before the first event.
    pub(in crate::report) first_ns: u64,
    pub(in crate::report) last_ns: u64,
    pub(in crate::report) age_us: Spread,
    pub(in crate::report) sent: Spread,
    pub(in crate::report) received: Spread,
    pub(in crate::report) lifetime_ms: Spread,
}

impl Group {
    fn new(key: Key) -> Self {
        Self {
            key,
            rows: [NOWHERE; TABLES],
            passes: true,
            exe: 0,
            counts: Counts::default(),
            roles: [0; 3],
            fin_wait2: 0,
            via: [0; Via::ALL.len()],
            first_ns: 0,
            last_ns: 0,
            age_us: Spread::default(),
            sent: Spread::default(),
            received: Spread::default(),
            lifetime_ms: Spread::default(),
        }
    }

    /// Number of its row in a table; `None` where it is in none.
    pub(in crate::report) fn row(&self, table: Table) -> Option<u32> {
        Some(self.rows[table as usize]).filter(|row| *row != NOWHERE)
    }

    /// Whether the filter lets it pass.
    pub(in crate::report) fn passed(&self) -> bool {
        self.passes
    }

    /// Something of it was seen.
    pub(super) fn see(&mut self, mono_ns: u64) {
        if self.first_ns == 0 {
            self.first_ns = mono_ns;
        }
        self.last_ns = self.last_ns.max(mono_ns);
    }

    pub(super) fn count(&mut self, row: &Row) {
        self.see(row.mono_ns);
        if row.exe != 0 {
            self.exe = row.exe;
        }
        match row.kind {
            Kind::Created => {
                self.counts.created += 1;
                self.roles[row.role as usize] += 1;
                self.fin_wait2 += u64::from(row.substate == Some(Substate::FinWait2));
                self.via[row.via.unwrap_or_default() as usize] += 1;
                self.measure(row);
            }
            Kind::Ended => {
                self.counts.ended_by[row.reason.unwrap_or(Reason::Unknown) as usize] += 1;
                if let Some(lifetime_ms) = row.lifetime_ms {
                    self.lifetime_ms.add(lifetime_ms);
                }
            }
            Kind::Listed => self.counts.listed += 1,
            Kind::Overflow => {
                self.counts.overflow += 1;
                self.measure(row);
            }
            Kind::ConnectFailed => self.counts.connect_failed += 1,
            Kind::BindFailed => self.counts.bind_failed += 1,
            Kind::Aborted => {
                self.counts.aborted += 1;
                self.measure(row);
            }
            Kind::SynRefused => self.counts.syn_refused += 1,
            Kind::Lost => {}
        }
    }

    /// Takes in what a connection was like.
    fn measure(&mut self, row: &Row) {
        if let Some(age_us) = row.age_us {
            self.age_us.add(age_us);
        }
        if let Some(sent) = row.sent {
            self.sent.add(sent);
        }
        if let Some(received) = row.received {
            self.received.add(received);
        }
    }

    /// Created in this role.
    pub(in crate::report) fn created_as(&self, role: Role) -> u64 {
        self.roles[role as usize]
    }
}

/// How many sockets live in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Living {
    now: u32,
    most: u32,
}

/// A row of a table.
#[derive(Debug)]
pub(in crate::report) struct TableRow {
    pub(in crate::report) key: RowKey,
    pub(in crate::report) table: Table,
    /// Number of the ports of a tuple.
    tuple: u32,
}

impl TableRow {
    /// Number of its ports; `None` for all but a tuple.
    pub(in crate::report) fn ports(&self) -> Option<u32> {
        Some(self.tuple).filter(|tuple| *tuple != NOWHERE)
    }
}

/// All groups, and the rows that they are in.
#[derive(Debug)]
pub(in crate::report) struct Groups {
    index: HashTable<u32>,
    pub(in crate::report) all: Vec<Group>,
    row_index: HashTable<u32>,
    pub(in crate::report) rows: Vec<TableRow>,
    living: Vec<Living>,
    hasher: Hasher,
    most_groups: usize,
    most_rows: usize,
}

impl Groups {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            index: HashTable::new(),
            all: Vec::new(),
            row_index: HashTable::new(),
            rows: Vec::new(),
            living: Vec::new(),
            hasher: Hasher::default(),
            most_groups: limits.groups,
            most_rows: limits.rows,
        }
    }

    /// The group of a key, and whether it is new.
    #[inline]
    pub(super) fn enter(&mut self, key: Key, ports: &mut Ports) -> (u32, bool) {
        let hash = self.hasher.hash_one(key);
        let all = &self.all;
        if let Some(at) = self.index.find(hash, |at| all[*at as usize].key == key) {
            return (*at, false);
        }
        self.add(key, hash, ports)
    }

    #[cold]
    fn add(&mut self, key: Key, hash: u64, ports: &mut Ports) -> (u32, bool) {
        if self.all.len() >= self.most_groups && key.side != Side::Others {
            return self.enter(key.others(), ports);
        }
        // One group of others a namespace, as long as there are not too many of those either.
        if self.all.len() >= 2 * self.most_groups && key.netns != 0 {
            return self.enter(key.others_anywhere(), ports);
        }
        let mut group = Group::new(key);
        for (table, row) in [
            (Table::Process, key.process()),
            (Table::Tuple, key.tuple()),
            (Table::Peer, key.peer()),
            (Table::Port, key.port()),
            (Table::Container, key.container()),
            (Table::Netns, key.netns()),
        ] {
            group.rows[table as usize] = self.row(table, row, ports);
        }
        let at = self.all.len() as u32;
        self.all.push(group);
        let Self { index, all, hasher, .. } = self;
        index.insert_unique(hash, at, |at| hasher.hash_one(all[*at as usize].key));
        (at, true)
    }

    fn row(&mut self, table: Table, key: RowKey, ports: &mut Ports) -> u32 {
        if key == RowKey::None {
            return NOWHERE;
        }
        let of = |hasher: &Hasher, table: Table, key: RowKey| hasher.hash_one((table as u8, key));
        let hash = of(&self.hasher, table, key);
        let Self { row_index, rows, hasher, living, .. } = self;
        let same = |at: &u32| rows[*at as usize].key == key && rows[*at as usize].table == table;
        if let Some(at) = row_index.find(hash, same) {
            return *at;
        }
        if rows.len() >= self.most_rows && key != RowKey::Others {
            return self.row(table, RowKey::Others, ports);
        }
        let at = rows.len() as u32;
        let tuple = if let RowKey::Tuple { netns, .. } = key { ports.add(netns) } else { NOWHERE };
        rows.push(TableRow { key, table, tuple });
        living.push(Living::default());
        row_index.insert_unique(hash, at, |at| {
            let row = &rows[*at as usize];
            of(hasher, row.table, row.key)
        });
        at
    }

    /// Sockets that live in a row at the end, and the most that did.
    pub(in crate::report) fn living(&self, row: u32) -> (u64, u64) {
        self.living.get(row as usize).map_or((0, 0), |living| (living.now.into(), living.most.into()))
    }

    /// One socket more lives in a group. Returns the pressure of its tuple, if it holds one of the tuple's ports.
    #[inline]
    pub(super) fn enter_one(&mut self, at: u32, port: u16, now_ns: u64, ports: &mut Ports) -> Option<f32> {
        let rows = self.all[at as usize].rows;
        for row in rows {
            if let Some(living) = self.living.get_mut(row as usize) {
                living.now += 1;
                living.most = living.most.max(living.now);
            }
        }
        let tuple = self.rows.get(rows[Table::Tuple as usize] as usize)?.tuple;
        ports.take(tuple, port, now_ns)
    }

    /// One socket less.
    #[inline]
    pub(super) fn leave_one(&mut self, at: u32, port: u16, ports: &mut Ports) {
        let rows = self.all[at as usize].rows;
        for row in rows {
            if let Some(living) = self.living.get_mut(row as usize) {
                living.now = living.now.saturating_sub(1);
            }
        }
        if let Some(row) = self.rows.get(rows[Table::Tuple as usize] as usize) {
            ports.give(row.tuple, port);
        }
    }
}
