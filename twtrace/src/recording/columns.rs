//! Owns: making columns of events. Nothing is allocated for an event whose process and addresses were met lately.
//! Must not know: files, messages.
//!
//! Events wait until there are some, and then go into one column after the other.

mod flat;
mod outcome;
mod process;

use std::net::IpAddr;

use arrow_array::types::{TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::filling::{NumberBuilder, Texts, Words};
use super::schema::{self, LOST, Type};
use crate::model::clock::Clock;
use crate::model::event::{Conn, Event, Kind, Loss, Role, Substate};
use flat::{Chunk, Flat, note};
use outcome::{FailureColumns, OutcomeColumns};
use process::{IdentityColumns, OpenerColumns, OwnerColumns};

const MILLI_NS: u64 = 1_000_000;
/// Events that wait, at most: what is known of them stays in the processor's cache. A multiple of eight, as bits of rows are in bytes.
const AT_ONCE: usize = 256;

/// The columns of a batch that is being filled.
pub(super) struct Columns {
    schema: SchemaRef,
    clock: Clock,
    /// That are in columns.
    rows: usize,
    waiting: Vec<Flat>,
    event: Words,
    time: NumberBuilder<TimestampNanosecondType>,
    mono_ns: U64,
    conn: ConnColumns,
    socket: SocketColumns,
    owner: OwnerColumns,
    identity: IdentityColumns,
    opener: OpenerColumns,
    outcome: OutcomeColumns,
    failure: FailureColumns,
    loss: LossColumns,
}

type U16 = NumberBuilder<UInt16Type>;
type U32 = NumberBuilder<UInt32Type>;
type U64 = NumberBuilder<UInt64Type>;

struct ConnColumns {
    netns: U32,
    family: Words,
    saddr: Texts<IpAddr>,
    sport: U16,
    daddr: Texts<IpAddr>,
    dport: U16,
    ifindex: U32,
}

struct SocketColumns {
    role: Words,
    substate: Words,
    timeout_ms: U32,
    cookie: U64,
}

struct LossColumns {
    count: U64,
    parts: [U64; LOST.len()],
}

impl Columns {
    pub(super) fn new(schema: SchemaRef, clock: Clock) -> Self {
        Self {
            schema,
            clock,
            rows: 0,
            waiting: Vec::with_capacity(AT_ONCE),
            event: Words::new(Kind::ALL.iter().map(|kind| kind.word())),
            time: NumberBuilder::of(Type::Time.arrow()),
            mono_ns: U64::new(),
            conn: ConnColumns::new(),
            socket: SocketColumns::new(),
            owner: OwnerColumns::new(),
            identity: IdentityColumns::new(),
            opener: OpenerColumns::new(),
            outcome: OutcomeColumns::new(),
            failure: FailureColumns::new(),
            loss: LossColumns { count: U64::new(), parts: std::array::from_fn(|_| U64::new()) },
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows + self.waiting.len()
    }

    pub(super) fn append(&mut self, event: &Event) {
        let row = self.rows();
        let mut flat = Flat { event: event.kind.index() as u8, mono_ns: event.mono_ns, ..Flat::default() };
        if let Some(conn) = &event.conn {
            self.conn.flatten(conn, &mut flat);
        }
        flatten_socket(event, &mut flat);
        if let Some(owner) = &event.owner {
            self.owner.flatten(owner, &mut flat);
        }
        if let Some(identity) = &event.identity {
            self.identity.flatten(identity, &mut flat);
        }
        if let Some(opener) = &event.opener {
            self.opener.flatten(opener, &mut flat);
        }
        outcome::flatten(event, &mut flat);
        if matches!(event.kind, Kind::ConnectFailed | Kind::BindFailed | Kind::Aborted) {
            self.failure.set(row, event);
        }
        if let Some(loss) = &event.loss {
            self.loss.set(row, loss);
        }
        self.waiting.push(flat);
        if self.waiting.len() == AT_ONCE {
            self.fill();
        }
    }

    /// What waits goes into the columns.
    fn fill(&mut self) {
        let chunk = Chunk::new(self.rows, &self.waiting);
        let (all, clock) = (chunk.all(), self.clock);
        self.event.fill(&all, |flat| flat.event);
        self.time.fill(&all, |flat| clock.wall_ns(flat.mono_ns));
        self.mono_ns.fill(&all, |flat| flat.mono_ns);
        self.conn.fill(&chunk);
        self.socket.fill(&chunk);
        self.owner.fill(&chunk);
        self.identity.fill(&chunk);
        self.opener.fill(&chunk);
        self.outcome.fill(&chunk);
        self.rows += self.waiting.len();
        self.waiting.clear();
    }

    /// What was appended since the last time, as a batch.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.fill();
        let rows = std::mem::take(&mut self.rows);
        let mut named: HashMap<&'static str, ArrayRef, RandomState> = HashMap::default();
        let mut put = |name, column: ArrayRef| drop(named.insert(name, column));
        put("event", self.event.column(rows)?);
        put("time", self.time.column(rows)?);
        put("mono_ns", self.mono_ns.column(rows)?);
        self.conn.finish(rows, &mut put)?;
        self.socket.finish(rows, &mut put)?;
        self.owner.finish(rows, &mut put)?;
        self.identity.finish(rows, &mut put)?;
        self.opener.finish(rows, &mut put)?;
        self.outcome.finish(rows, &mut put)?;
        self.failure.finish(rows, &mut put)?;
        self.loss.finish(rows, &mut put)?;
        let columns: Option<Vec<ArrayRef>> =
            schema::COLUMNS.iter().map(|(name, _)| named.remove(*name)).collect();
        let columns = columns.ok_or_else(|| ArrowError::SchemaError("a column is not filled".to_owned()))?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

type Put<'a> = dyn FnMut(&'static str, ArrayRef) + 'a;

impl ConnColumns {
    fn new() -> Self {
        Self {
            netns: U32::new(),
            family: Words::new(["ipv4", "ipv6"]),
            saddr: Texts::new(),
            sport: U16::new(),
            daddr: Texts::new(),
            dport: U16::new(),
            ifindex: U32::new(),
        }
    }

    fn flatten(&mut self, conn: &Conn, flat: &mut Flat) {
        flat.parts |= flat::CONN;
        (flat.netns, flat.ifindex) = (conn.netns, conn.ifindex);
        flat.family = u8::from(!conn.saddr.is_ipv4());
        flat.saddr = self.saddr.index_again(&conn.saddr, ToString::to_string);
        flat.daddr = self.daddr.index_again(&conn.daddr, ToString::to_string);
        (flat.sport, flat.dport) = (conn.sport, conn.dport);
    }

    fn fill(&mut self, chunk: &Chunk<'_>) {
        let rows = chunk.of(flat::CONN);
        self.netns.fill(&rows, |flat| flat.netns);
        self.family.fill(&rows, |flat| flat.family);
        self.saddr.fill(&rows, |flat| flat.saddr);
        self.sport.fill(&rows, |flat| flat.sport);
        self.daddr.fill(&rows, |flat| flat.daddr);
        self.dport.fill(&rows, |flat| flat.dport);
        self.ifindex.fill(&rows, |flat| flat.ifindex);
    }

    fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("netns", self.netns.column(rows)?);
        put("family", self.family.column(rows)?);
        put("saddr", self.saddr.column(rows)?);
        put("sport", self.sport.column(rows)?);
        put("daddr", self.daddr.column(rows)?);
        put("dport", self.dport.column(rows)?);
        put("ifindex", self.ifindex.column(rows)?);
        Ok(())
    }
}

fn flatten_socket(event: &Event, flat: &mut Flat) {
    let parts = &mut flat.parts;
    if matches!(event.kind, Kind::Created | Kind::Ended | Kind::Listed | Kind::Overflow | Kind::Aborted) {
        *parts |= flat::ROLE;
        flat.role = event.role.index() as u8;
    }
    let substate = note(flat::SUBSTATE, parts, event.substate);
    flat.substate = substate.map_or(0, |substate| substate.index() as u8);
    flat.timeout_ms = note(flat::TIMEOUT, parts, event.timeout_ms).unwrap_or(0);
    flat.cookie = note(flat::COOKIE, parts, event.cookie).unwrap_or(0);
    flat.via = note(flat::VIA, parts, event.via).map_or(0, |via| via.index() as u8);
}

impl SocketColumns {
    fn new() -> Self {
        Self {
            role: Words::new(Role::ALL.iter().map(|role| role.word())),
            substate: Words::new(Substate::ALL.iter().map(|substate| substate.word())),
            timeout_ms: U32::new(),
            cookie: U64::new(),
        }
    }

    fn fill(&mut self, chunk: &Chunk<'_>) {
        self.role.fill(&chunk.of(flat::ROLE), |flat| flat.role);
        self.substate.fill(&chunk.of(flat::SUBSTATE), |flat| flat.substate);
        self.timeout_ms.fill(&chunk.of(flat::TIMEOUT), |flat| flat.timeout_ms);
        self.cookie.fill(&chunk.of(flat::COOKIE), |flat| flat.cookie);
    }

    fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("role", self.role.column(rows)?);
        put("substate", self.substate.column(rows)?);
        put("timeout_ms", self.timeout_ms.column(rows)?);
        put("cookie", self.cookie.column(rows)?);
        Ok(())
    }
}

impl LossColumns {
    fn set(&mut self, row: usize, loss: &Loss) {
        self.count.set(row, loss.events());
        for (column, part) in self.parts.iter_mut().zip(loss.parts()) {
            column.set(row, part);
        }
    }

    fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("count", self.count.column(rows)?);
        for (name, column) in LOST.into_iter().zip(&mut self.parts) {
            put(name, column.column(rows)?);
        }
        Ok(())
    }
}
