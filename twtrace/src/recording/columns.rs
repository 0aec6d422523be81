//! Owns: making columns of events. Nothing is allocated for an event whose names and addresses were met before.
//! Must not know: files, messages.

mod process;

use std::net::IpAddr;

use arrow_array::types::{TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::filling::{Numbers, Texts, Words};
use super::schema::{self, Type};
use crate::model::clock::Clock;
use crate::model::event::{AbortWhy, Conn, Errno, Event, Kind, Loss, PortVia, Reason, Role, Substate};
use process::{IdentityColumns, OpenerColumns, OwnerColumns};

const MILLI_NS: u64 = 1_000_000;

/// The columns of a batch that is being filled.
pub(super) struct Columns {
    schema: SchemaRef,
    clock: Clock,
    rows: usize,
    event: Words,
    time: Numbers<TimestampNanosecondType>,
    mono_ns: U64,
    conn: ConnColumns,
    socket: SocketColumns,
    owner: OwnerColumns,
    identity: IdentityColumns,
    opener: OpenerColumns,
    outcome: OutcomeColumns,
    loss: LossColumns,
}

type U16 = Numbers<UInt16Type>;
type U32 = Numbers<UInt32Type>;
type U64 = Numbers<UInt64Type>;

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

struct OutcomeColumns {
    age_ms: U64,
    age_rest_ns: U32,
    bytes_sent: U64,
    bytes_received: U64,
    reason: Words,
    lifetime_ms: U64,
    lifetime_rest_ns: U32,
    errno: Words,
    port_via: Words,
    reuseaddr: Words,
    range: [U16; 2],
    why: Words,
}

struct LossColumns {
    count: U64,
    parts: [U64; LOSS_PARTS.len()],
}

impl Columns {
    pub(super) fn new(schema: SchemaRef, clock: Clock) -> Self {
        Self {
            schema,
            clock,
            rows: 0,
            event: Words::new(Kind::ALL.iter().map(|kind| kind.word())),
            time: Numbers::of(Type::Time.arrow()),
            mono_ns: U64::new(),
            conn: ConnColumns::new(),
            socket: SocketColumns::new(),
            owner: OwnerColumns::new(),
            identity: IdentityColumns::new(),
            opener: OpenerColumns::new(),
            outcome: OutcomeColumns::new(),
            loss: LossColumns { count: U64::new(), parts: std::array::from_fn(|_| U64::new()) },
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn append(&mut self, event: &Event) {
        let row = self.rows;
        self.rows += 1;
        self.event.set(row, event.kind.index());
        self.time.set(row, self.clock.wall_ns(event.mono_ns));
        self.mono_ns.set(row, event.mono_ns);
        if let Some(conn) = &event.conn {
            self.conn.set(row, conn);
        }
        self.socket.set(row, event);
        if let Some(owner) = &event.owner {
            self.owner.set(row, owner);
        }
        if let Some(via) = event.via {
            self.owner.via.set(row, via.index());
        }
        if let Some(identity) = &event.identity {
            self.identity.set(row, identity);
        }
        if let Some(opener) = &event.opener {
            self.opener.set(row, opener);
        }
        self.outcome.set(row, event);
        if let Some(loss) = &event.loss {
            self.loss.set(row, loss);
        }
    }

    /// What was appended since the last time, as a batch.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
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

    fn set(&mut self, row: usize, conn: &Conn) {
        self.netns.set(row, conn.netns);
        self.family.set(row, usize::from(!conn.saddr.is_ipv4()));
        self.saddr.set(row, &conn.saddr, ToString::to_string);
        self.sport.set(row, conn.sport);
        self.daddr.set(row, &conn.daddr, ToString::to_string);
        self.dport.set(row, conn.dport);
        self.ifindex.set(row, conn.ifindex);
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

impl SocketColumns {
    fn new() -> Self {
        Self {
            role: Words::new(Role::ALL.iter().map(|role| role.word())),
            substate: Words::new(Substate::ALL.iter().map(|substate| substate.word())),
            timeout_ms: U32::new(),
            cookie: U64::new(),
        }
    }

    fn set(&mut self, row: usize, event: &Event) {
        if matches!(event.kind, Kind::Created | Kind::Ended | Kind::Listed | Kind::Overflow | Kind::Aborted) {
            self.role.set(row, event.role.index());
        }
        if let Some(substate) = event.substate {
            self.substate.set(row, substate.index());
        }
        self.timeout_ms.set_some(row, event.timeout_ms);
        self.cookie.set_some(row, event.cookie);
    }

    fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("role", self.role.column(rows)?);
        put("substate", self.substate.column(rows)?);
        put("timeout_ms", self.timeout_ms.column(rows)?);
        put("cookie", self.cookie.column(rows)?);
        Ok(())
    }
}

impl OutcomeColumns {
    fn new() -> Self {
        Self {
            age_ms: U64::new(),
            age_rest_ns: U32::new(),
            bytes_sent: U64::new(),
            bytes_received: U64::new(),
            reason: Words::new(Reason::ALL.iter().map(|reason| reason.word())),
            lifetime_ms: U64::new(),
            lifetime_rest_ns: U32::new(),
            errno: Words::new(Errno::ALL.iter().map(|errno| errno.word())),
            port_via: Words::new(PortVia::ALL.iter().map(|via| via.word())),
            reuseaddr: Words::new(["false", "true"]),
            range: [U16::new(), U16::new()],
            why: Words::new(AbortWhy::ALL.iter().map(|why| why.word())),
        }
    }

    fn set(&mut self, row: usize, event: &Event) {
        if let Some(age_ns) = event.age_ns {
            self.age_ms.set(row, age_ns / MILLI_NS);
            self.age_rest_ns.set(row, (age_ns % MILLI_NS) as u32);
        }
        self.bytes_sent.set_some(row, event.bytes_sent);
        self.bytes_received.set_some(row, event.bytes_received);
        if let Some(reason) = event.reason {
            self.reason.set(row, reason.index());
        }
        if let Some(lifetime_ns) = event.lifetime_ns {
            self.lifetime_ms.set(row, lifetime_ns / MILLI_NS);
            self.lifetime_rest_ns.set(row, (lifetime_ns % MILLI_NS) as u32);
        }
        if let Some(via) = event.port_via {
            self.port_via.set(row, via.index());
        }
        if matches!(event.kind, Kind::ConnectFailed | Kind::BindFailed | Kind::Aborted) {
            self.set_failure(row, event);
        }
    }

    fn set_failure(&mut self, row: usize, event: &Event) {
        if let Some(errno) = event.errno {
            self.errno.set(row, errno.index());
        }
        if let Some(reuseaddr) = event.reuseaddr {
            self.reuseaddr.set(row, reuseaddr.into());
        }
        if let Some((low, high)) = event.own_range {
            let [lowest, highest] = &mut self.range;
            lowest.set(row, low);
            highest.set(row, high);
        }
        if let Some(why) = event.why {
            self.why.set(row, why.index());
        }
    }

    fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("age_ms", self.age_ms.column(rows)?);
        put("age_rest_ns", self.age_rest_ns.column(rows)?);
        put("bytes_sent", self.bytes_sent.column(rows)?);
        put("bytes_received", self.bytes_received.column(rows)?);
        put("reason", self.reason.column(rows)?);
        put("lifetime_ms", self.lifetime_ms.column(rows)?);
        put("lifetime_rest_ns", self.lifetime_rest_ns.column(rows)?);
        put("errno", self.errno.column(rows)?);
        put("port_via", self.port_via.column(rows)?);
        put("reuseaddr", self.reuseaddr.column(rows)?);
        let [low, high] = &mut self.range;
        put("range_low", low.column(rows)?);
        put("range_high", high.column(rows)?);
        put("why", self.why.column(rows)?);
        Ok(())
    }
}

/// The columns that `count` is made of, in the order of [`parts`].
pub(super) const LOSS_PARTS: [&str; 10] = [
    "lost_created",
    "lost_ended",
    "lost_overflow",
    "lost_connect_failed",
    "lost_bind_failed",
    "lost_owners",
    "lost_missed_runs",
    "lost_missed",
    "lost_aborted",
    "lost_syn_refused",
];

fn parts(loss: &Loss) -> [u64; 10] {
    [
        loss.created,
        loss.ended,
        loss.overflow,
        loss.connect_failed,
        loss.bind_failed,
        loss.owners,
        loss.missed_runs,
        loss.missed,
        loss.aborted,
        loss.syn_refused,
    ]
}

impl LossColumns {
    fn set(&mut self, row: usize, loss: &Loss) {
        self.count.set(row, loss.events());
        for (column, part) in self.parts.iter_mut().zip(parts(loss)) {
            column.set(row, part);
        }
    }

    fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("count", self.count.column(rows)?);
        for (name, column) in LOSS_PARTS.into_iter().zip(&mut self.parts) {
            put(name, column.column(rows)?);
        }
        Ok(())
    }
}
