//! Owns: what is counted under each key, and how many sockets live in each row of each table.
//! Must not know: what keys and rows are called.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::counts::{Counts, Otherwise};
use super::history::{Flow, History};
use super::homes::Homes;
use super::intern::Hasher;
use super::key::{Key, RowId, Side};
use super::limits::Limits;
use super::pools::Pools;
use super::row::{Named, Row};
use super::spread::Spread;
use super::table::{Living, TABLES};
pub(crate) use super::table::{NOWHERE, Table, TableRow};
use crate::model::event::{Kind, Role, Substate, Via};
use crate::model::pool::TIME_WAIT_S;
use crate::model::ports::Ports;

/// A connection that lived shorter than this can hardly have carried more than one request, in microseconds.
const ONE_REQUEST_US: u64 = 5_000;

/// As [`TIME_WAIT_S`].
const TIME_WAIT_NS: u64 = (TIME_WAIT_S * 1e9) as u64;

pub(super) fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// What is counted under one key.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) key: Key,
    /// Numbers of its rows, by [`Table`].
    rows: [u32; TABLES],
    /// The filter of a recording's reader lets it pass.
    pub(crate) passes: bool,
    /// Program of the owner, when last said.
    pub(crate) exe: u32,
    /// Sockets that live.
    pub(crate) live: u32,
    pub(crate) counts: Counts,
    pub(crate) otherwise: Otherwise,
    /// When a call last failed for want of a port, CLOCK_MONOTONIC in nanoseconds; 0 for never.
    pub(crate) wanted_ns: u64,
    /// When a TIME_WAIT socket was last refused, as above.
    pub(crate) refused_ns: u64,
    /// What held ports of its pool then.
    pub(crate) wanted_held: Option<Box<Ports>>,
    /// Created, by role.
    pub(crate) roles: [u64; 3],
    /// Created as orphans that wait for their peer's FIN.
    pub(crate) fin_wait2: u64,
    /// Failures of connect() while TIME_WAIT sockets held at least half of the ports.
    pub(crate) starved: u64,
    /// Connections that lived under 5 ms.
    pub(crate) under_5ms: u64,
    /// Created, by how the owner is known, in the order of `Via::ALL`.
    pub(crate) via: [u64; Via::ALL.len()],
    /// When the first of its sockets was made, as far as one can tell, CLOCK_MONOTONIC in nanoseconds; `None` before the first.
    pub(crate) made_ns: Option<u64>,
    /// CLOCK_MONOTONIC in nanoseconds, 0 before the first event.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) age_us: Spread,
    pub(crate) sent: Spread,
    pub(crate) received: Spread,
    pub(crate) lifetime_ms: Spread,
    /// What happened lately, where that is of interest.
    pub(crate) history: History,
    /// All that was created and ended, where `history` has a part only: how long ports last depends on all of it.
    pub(crate) flow: Option<Box<History>>,
}

impl Group {
    fn new(key: Key) -> Self {
        Self {
            key,
            rows: [NOWHERE; TABLES],
            passes: true,
            exe: 0,
            live: 0,
            counts: Counts::default(),
            otherwise: Otherwise::default(),
            wanted_ns: 0,
            refused_ns: 0,
            wanted_held: None,
            roles: [0; 3],
            fin_wait2: 0,
            starved: 0,
            under_5ms: 0,
            via: [0; Via::ALL.len()],
            made_ns: None,
            first_ns: 0,
            last_ns: 0,
            age_us: Spread::default(),
            sent: Spread::default(),
            received: Spread::default(),
            lifetime_ms: Spread::default(),
            history: History::default(),
            flow: None,
        }
    }

    /// Number of its row in a table; `None` where it is in none.
    pub(crate) fn row(&self, table: Table) -> Option<u32> {
        Some(self.rows[table as usize]).filter(|row| *row != NOWHERE)
    }

    /// What its sockets name; `None` where the group does not know all of that.
    #[inline]
    pub(crate) fn named(&self) -> Option<Named> {
        let Key { owner, side, saddr, daddr, .. } = self.key;
        (side != Side::Others).then_some(Named { saddr, daddr, owner, exe: self.exe })
    }

    /// Something of it was seen.
    pub(crate) fn see(&mut self, mono_ns: u64) {
        self.first_ns = if self.first_ns == 0 { mono_ns } else { self.first_ns };
        self.last_ns = self.last_ns.max(mono_ns);
    }

    pub(crate) fn count(&mut self, row: &Row) {
        self.see(row.mono_ns);
        if row.exe != 0 {
            self.exe = row.exe;
        }
        self.counts.add(row.kind, row.reason);
        match row.kind {
            Kind::Created => {
                self.roles[row.role as usize] += 1;
                self.fin_wait2 += u64::from(row.substate == Some(Substate::FinWait2));
                self.via[row.via.unwrap_or_default() as usize] += 1;
                self.made_ns = earlier(self.made_ns, Some(row.mono_ns));
                self.measure(row);
            }
            Kind::Listed => {
                let ends_ns = row.mono_ns.saturating_add(u64::from(row.timeout_ms) * 1_000_000);
                self.made_ns = earlier(self.made_ns, Some(ends_ns.saturating_sub(TIME_WAIT_NS)));
            }
            Kind::Ended => {
                if let Some(lifetime_ms) = row.lifetime_ms {
                    self.lifetime_ms.add(lifetime_ms);
                }
            }
            Kind::Overflow => {
                self.refused_ns = self.refused_ns.max(row.mono_ns);
                self.measure(row);
            }
            Kind::Aborted => self.measure(row),
            Kind::ConnectFailed if row.failed_otherwise() => self.otherwise.connect += 1,
            Kind::BindFailed if row.failed_otherwise() => self.otherwise.bind += 1,
            Kind::ConnectFailed | Kind::BindFailed => self.wanted_ns = self.wanted_ns.max(row.mono_ns),
            Kind::SynRefused | Kind::Lost => {}
        }
    }

    /// Takes in what a connection was like.
    fn measure(&mut self, row: &Row) {
        if let Some(age_us) = row.age_us {
            self.age_us.add(age_us);
            self.under_5ms += u64::from(age_us < ONE_REQUEST_US);
        }
        if let Some(sent) = row.sent {
            self.sent.add(sent);
        }
        if let Some(received) = row.received {
            self.received.add(received);
        }
    }

    /// Notes in which second it happened; `counts` is false for what is not counted.
    pub(crate) fn note(&mut self, kind: Kind, second: u32, counts: bool, notes_flow: bool) {
        let Some(flow) = Flow::of(kind) else { return };
        if counts {
            self.history.add(second, flow);
        }
        if notes_flow && flow != Flow::Failed {
            self.flow.get_or_insert_default().add(second, flow);
        }
    }

    /// Created in this role.
    pub(crate) fn created_as(&self, role: Role) -> u64 {
        self.roles[role as usize]
    }

    /// Calls that failed for want of a port; an overflow is nobody's failed call.
    pub(crate) fn wanted(&self) -> u64 {
        let Otherwise { connect, bind } = self.otherwise;
        (self.counts.connect_failed + self.counts.bind_failed).saturating_sub(connect + bind)
    }

    /// Overflows, and failures of connect() and bind().
    pub(crate) fn failed(&self) -> u64 {
        self.counts.overflow + self.counts.connect_failed + self.counts.bind_failed
    }
}

/// All groups, and the rows that they are in.
#[derive(Debug)]
pub(crate) struct Groups {
    index: HashTable<u32>,
    pub(crate) all: Vec<Group>,
    row_index: HashTable<u32>,
    pub(crate) rows: Vec<TableRow>,
    pub(crate) living: Vec<Living>,
    /// In all.
    pub(crate) population: Living,
    homes: Homes,
    hasher: Hasher,
    most_groups: usize,
    most_rows: usize,
    /// The group that was entered last: mostly it is entered again.
    last: u32,
}

impl Groups {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            index: HashTable::new(),
            all: Vec::new(),
            row_index: HashTable::new(),
            rows: Vec::new(),
            living: Vec::new(),
            population: Living::default(),
            homes: Homes::default(),
            hasher: Hasher::default(),
            most_groups: limits.groups,
            most_rows: limits.rows,
            last: 0,
        }
    }

    /// Whether there is no room for more groups or rows.
    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= self.most_groups || self.rows.len() + TABLES > self.most_rows
    }

    /// The group of a key, and whether it is new.
    #[inline]
    pub(crate) fn enter(&mut self, key: Key, pools: &mut Pools) -> (u32, bool) {
        if self.all.get(self.last as usize).is_some_and(|group| group.key == key) {
            return (self.last, false);
        }
        let hash = self.hasher.hash_one(key);
        let all = &self.all;
        if let Some(at) = self.index.find(hash, |at| all[*at as usize].key == key) {
            self.last = *at;
            return (*at, false);
        }
        self.add(key, hash, pools)
    }

    #[cold]
    fn add(&mut self, key: Key, hash: u64, pools: &mut Pools) -> (u32, bool) {
        if self.all.len() >= self.most_groups && key.side != Side::Others {
            return self.enter(key.others(), pools);
        }
        // One group of others a namespace, as long as there are not too many of those either.
        if self.all.len() >= 2 * self.most_groups && key.netns != 0 {
            return self.enter(key.others_anywhere(), pools);
        }
        let mut group = Group::new(key);
        for table in Table::ALL {
            group.rows[table as usize] = match table {
                Table::Process => self.row(table, key.process(), pools),
                Table::Tuple => self.row(table, key.tuple(), pools),
                Table::Peer => self.row(table, key.peer(), pools),
                Table::Port => self.row(table, key.port(), pools),
                Table::Container => self.row(table, key.container(), pools),
                Table::Netns => self.row(table, key.netns(), pools),
                Table::Link => self.row(table, link(&group), pools),
            };
        }
        let at = self.all.len() as u32;
        // They are large, and there are many: twice as much room as is needed would be too much.
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact((self.all.len() / 4).max(64));
        }
        self.all.push(group);
        let Self { index, all, hasher, .. } = self;
        index.insert_unique(hash, at, |at| hasher.hash_one(all[*at as usize].key));
        (at, true)
    }

    fn row(&mut self, table: Table, id: RowId, pools: &mut Pools) -> u32 {
        if id == RowId::None {
            return NOWHERE;
        }
        if let Some(at) = self.find_row(table, id) {
            return at;
        }
        if self.rows.len() >= self.most_rows && id != RowId::Others {
            return self.row(table, RowId::Others, pools);
        }
        let Self { row_index, rows, hasher, living, homes, .. } = self;
        let at = rows.len() as u32;
        let pool = if let RowId::Tuple { netns, .. } = id { pools.add(netns) } else { NOWHERE };
        rows.push(TableRow { id, table, pool, gone: false });
        homes.add(&rows[at as usize]);
        living.push(Living::default());
        row_index.insert_unique(hash_of_row(hasher, table, id), at, |at| {
            let row = &rows[*at as usize];
            hash_of_row(hasher, row.table, row.id)
        });
        at
    }

    /// The number of the row with this name.
    pub(crate) fn find_row(&self, table: Table, id: RowId) -> Option<u32> {
        let is_it = |at: &u32| self.rows[*at as usize].id == id && self.rows[*at as usize].table == table;
        self.row_index.find(hash_of_row(&self.hasher, table, id), is_it).copied()
    }

    /// Sockets that live in a row at the end, and the most that did.
    pub(crate) fn living(&self, row: u32) -> (u64, u64) {
        self.living.get(row as usize).map_or((0, 0), |living| (living.now.into(), living.most.into()))
    }

    /// Number of the pool of ports that a group's connections draw from.
    #[inline]
    pub(crate) fn pool_of(&self, at: u32) -> u32 {
        let row = self.all[at as usize].rows[Table::Tuple as usize];
        self.rows.get(row as usize).map_or(NOWHERE, |row| row.pool)
    }

    /// As [`Groups::pool_of`], of the fullest that a call could have drawn from which had no source address yet.
    pub(crate) fn home_of(&mut self, at: u32, pools: &Pools) -> u32 {
        let own = self.pool_of(at);
        let Self { all, rows, homes, .. } = self;
        let row = all[at as usize].row(Table::Tuple).and_then(|row| rows.get(row as usize));
        row.and_then(|of| homes.fullest(of, rows, pools)).unwrap_or(own)
    }

    /// One socket more lives in a group. Returns the pressure of its tuple, if it holds one of the tuple's ports.
    #[inline]
    pub(crate) fn enter_one(&mut self, at: u32, port: u16, now_ns: u64, pools: &mut Pools) -> Option<f32> {
        let group = &mut self.all[at as usize];
        group.live += 1;
        self.population.enter();
        for row in group.rows {
            if let Some(living) = self.living.get_mut(row as usize) {
                living.enter();
            }
        }
        pools.take(self.pool_of(at), port, now_ns)
    }

    /// Nothing lives any more.
    pub(crate) fn let_go(&mut self) {
        self.all.iter_mut().for_each(|group| group.live = 0);
        self.living.iter_mut().chain([&mut self.population]).for_each(|living| living.now = 0);
    }

    /// One socket less.
    #[inline]
    pub(crate) fn leave_one(&mut self, at: u32, port: u16, pools: &mut Pools) {
        let group = &mut self.all[at as usize];
        group.live = group.live.saturating_sub(1);
        self.population.leave();
        for row in group.rows {
            if let Some(living) = self.living.get_mut(row as usize) {
                living.leave();
            }
        }
        pools.give(self.pool_of(at), port);
    }
}

/// Names the link of a group, whose other rows are known.
fn link(group: &Group) -> RowId {
    let target = group.row(Table::Tuple).or(group.row(Table::Port));
    match (group.key.side, group.row(Table::Process), target) {
        (Side::Others, ..) => RowId::None,
        (_, Some(process), Some(target)) => RowId::Link { process, target },
        _ => RowId::None,
    }
}

fn hash_of_row(hasher: &Hasher, table: Table, id: RowId) -> u64 {
    hasher.hash_one((table as u8, id))
}
