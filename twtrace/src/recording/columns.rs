//! Owns: making columns of events. Nothing is allocated for an event whose names and addresses were met before.
//! Must not know: files, messages.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::builder::{PrimitiveBuilder, TimestampNanosecondBuilder};
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::dictionary::{Texts, Words};
use super::schema;
use crate::model::clock::Clock;
use crate::model::event::{
    AbortWhy, Comm, Conn, Errno, Event, Kind, Loss, Opener, PortVia, Process, Reason, Role, Substate, Via,
};
use crate::model::identity::Identity;

const MILLI_NS: u64 = 1_000_000;

/// The columns of a batch that is being filled.
pub(super) struct Columns {
    schema: SchemaRef,
    clock: Clock,
    rows: usize,
    event: Words,
    time: TimestampNanosecondBuilder,
    mono_ns: PrimitiveBuilder<UInt64Type>,
    conn: ConnColumns,
    socket: SocketColumns,
    owner: OwnerColumns,
    opener: OpenerColumns,
    outcome: OutcomeColumns,
    loss: LossColumns,
}

type U16 = PrimitiveBuilder<UInt16Type>;
type U32 = PrimitiveBuilder<UInt32Type>;
type U64 = PrimitiveBuilder<UInt64Type>;

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

struct OwnerColumns {
    pid: U32,
    tid: U32,
    comm: Texts<Comm>,
    uid: U32,
    cgroup_id: U64,
    start_ns: U64,
    exe: Texts<String>,
    cgroup: Texts<String>,
    container: Texts<String>,
    container_id: Texts<String>,
    pod_uid: Texts<String>,
    via: Words,
    /// The text of `container` is made anew for each event, in here.
    scratch: String,
}

struct OpenerColumns {
    pid: U32,
    comm: Texts<Comm>,
    start_ns: U64,
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
    why: Words,
}

#[derive(Default)]
struct LossColumns {
    count: U64,
    parts: [U64; LOSS_PARTS.len()],
}

fn index<T: PartialEq>(all: &[T], value: Option<T>) -> Option<usize> {
    value.and_then(|value| all.iter().position(|one| *one == value))
}

impl Columns {
    pub(super) fn new(schema: SchemaRef, clock: Clock) -> Self {
        Self {
            schema,
            clock,
            rows: 0,
            event: Words::new(Kind::ALL.iter().map(|kind| kind.word())),
            time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            mono_ns: U64::new(),
            conn: ConnColumns::new(),
            socket: SocketColumns::new(),
            owner: OwnerColumns::new(),
            opener: OpenerColumns { pid: U32::new(), comm: Texts::new(), start_ns: U64::new() },
            outcome: OutcomeColumns::new(),
            loss: LossColumns::default(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn append(&mut self, event: &Event) {
        self.rows += 1;
        self.event.append(index(Kind::ALL, Some(event.kind)));
        self.time.append_value(self.clock.wall_ns(event.mono_ns));
        self.mono_ns.append_value(event.mono_ns);
        self.conn.append(event.conn.as_ref());
        self.socket.append(event);
        self.owner.append(event.owner.as_ref(), event.identity.as_deref(), event.via);
        self.opener.append(event.opener.as_ref());
        self.outcome.append(event);
        self.loss.append(event.loss.as_ref());
    }

    /// What was appended since the last time, as a batch.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut named: HashMap<&'static str, ArrayRef, RandomState> = HashMap::default();
        let mut put = |name, column: ArrayRef| drop(named.insert(name, column));
        put("event", self.event.finish()?);
        put("time", Arc::new(self.time.finish()));
        put("mono_ns", Arc::new(self.mono_ns.finish()));
        self.conn.finish(&mut put)?;
        self.socket.finish(&mut put)?;
        self.owner.finish(&mut put)?;
        self.opener.finish(&mut put)?;
        self.outcome.finish(&mut put)?;
        self.loss.finish(&mut put);
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

    fn append(&mut self, conn: Option<&Conn>) {
        self.netns.append_option(conn.map(|conn| conn.netns));
        self.family.append(conn.map(|conn| usize::from(!conn.saddr.is_ipv4())));
        self.saddr.append(conn.map(|conn| &conn.saddr), |address| address.to_string());
        self.sport.append_option(conn.map(|conn| conn.sport));
        self.daddr.append(conn.map(|conn| &conn.daddr), |address| address.to_string());
        self.dport.append_option(conn.map(|conn| conn.dport));
        self.ifindex.append_option(conn.map(|conn| conn.ifindex));
    }

    fn finish(&mut self, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("netns", Arc::new(self.netns.finish()));
        put("family", self.family.finish()?);
        put("saddr", self.saddr.finish()?);
        put("sport", Arc::new(self.sport.finish()));
        put("daddr", self.daddr.finish()?);
        put("dport", Arc::new(self.dport.finish()));
        put("ifindex", Arc::new(self.ifindex.finish()));
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

    fn append(&mut self, event: &Event) {
        let has_role =
            matches!(event.kind, Kind::Created | Kind::Ended | Kind::Listed | Kind::Overflow | Kind::Aborted);
        self.role.append(index(Role::ALL, has_role.then_some(event.role)));
        self.substate.append(index(Substate::ALL, event.substate));
        self.timeout_ms.append_option(event.timeout_ms);
        self.cookie.append_option(event.cookie);
    }

    fn finish(&mut self, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("role", self.role.finish()?);
        put("substate", self.substate.finish()?);
        put("timeout_ms", Arc::new(self.timeout_ms.finish()));
        put("cookie", Arc::new(self.cookie.finish()));
        Ok(())
    }
}

impl OwnerColumns {
    fn new() -> Self {
        Self {
            pid: U32::new(),
            tid: U32::new(),
            comm: Texts::new(),
            uid: U32::new(),
            cgroup_id: U64::new(),
            start_ns: U64::new(),
            exe: Texts::new(),
            cgroup: Texts::new(),
            container: Texts::new(),
            container_id: Texts::new(),
            pod_uid: Texts::new(),
            via: Words::new(Via::ALL.iter().map(|via| via.word())),
            scratch: String::new(),
        }
    }

    fn append(&mut self, owner: Option<&Process>, identity: Option<&Identity>, via: Option<Via>) {
        self.pid.append_option(owner.map(|owner| owner.pid));
        self.tid.append_option(owner.map(|owner| owner.tid));
        self.comm.append(owner.map(|owner| &owner.comm), |comm| comm.text().into_owned());
        self.uid.append_option(owner.map(|owner| owner.uid));
        self.cgroup_id.append_option(owner.map(|owner| owner.cgroup_id).filter(|id| *id != 0));
        self.start_ns.append_option(owner.map(|owner| owner.start_ns));
        self.exe.append(identity.and_then(|identity| identity.exe.as_deref()), str::to_owned);
        self.cgroup.append(identity.and_then(|identity| identity.cgroup.as_deref()), str::to_owned);
        let container = identity.and_then(|identity| identity.container.as_ref());
        let shown = container.map(|container| {
            self.scratch.clear();
            // Writing to a String cannot fail.
            let _ = write!(self.scratch, "{container}");
            self.scratch.as_str()
        });
        self.container.append(shown, str::to_owned);
        self.container_id.append(container.map(|container| container.id.as_str()), str::to_owned);
        self.pod_uid.append(container.and_then(|container| container.pod_uid.as_deref()), str::to_owned);
        self.via.append(index(Via::ALL, via));
    }

    fn finish(&mut self, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("pid", Arc::new(self.pid.finish()));
        put("tid", Arc::new(self.tid.finish()));
        put("comm", self.comm.finish()?);
        put("uid", Arc::new(self.uid.finish()));
        put("cgroup_id", Arc::new(self.cgroup_id.finish()));
        put("start_ns", Arc::new(self.start_ns.finish()));
        put("exe", self.exe.finish()?);
        put("cgroup", self.cgroup.finish()?);
        put("container", self.container.finish()?);
        put("container_id", self.container_id.finish()?);
        put("pod_uid", self.pod_uid.finish()?);
        put("owner_via", self.via.finish()?);
        Ok(())
    }
}

impl OpenerColumns {
    fn append(&mut self, opener: Option<&Opener>) {
        self.pid.append_option(opener.map(|opener| opener.pid));
        self.comm.append(opener.map(|opener| &opener.comm), |comm| comm.text().into_owned());
        self.start_ns.append_option(opener.map(|opener| opener.start_ns));
    }

    fn finish(&mut self, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("opener_pid", Arc::new(self.pid.finish()));
        put("opener_comm", self.comm.finish()?);
        put("opener_start_ns", Arc::new(self.start_ns.finish()));
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
            why: Words::new(AbortWhy::ALL.iter().map(|why| why.word())),
        }
    }

    fn append(&mut self, event: &Event) {
        let rest = |ns: Option<u64>| ns.map(|ns| (ns % MILLI_NS) as u32);
        self.age_ms.append_option(event.age_ns.map(|ns| ns / MILLI_NS));
        self.age_rest_ns.append_option(rest(event.age_ns));
        self.bytes_sent.append_option(event.bytes_sent);
        self.bytes_received.append_option(event.bytes_received);
        self.reason.append(index(Reason::ALL, event.reason));
        self.lifetime_ms.append_option(event.lifetime_ns.map(|ns| ns / MILLI_NS));
        self.lifetime_rest_ns.append_option(rest(event.lifetime_ns));
        self.errno.append(index(Errno::ALL, event.errno));
        self.port_via.append(index(PortVia::ALL, event.port_via));
        self.reuseaddr.append(event.reuseaddr.map(usize::from));
        self.why.append(index(AbortWhy::ALL, event.why));
    }

    fn finish(&mut self, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("age_ms", Arc::new(self.age_ms.finish()));
        put("age_rest_ns", Arc::new(self.age_rest_ns.finish()));
        put("bytes_sent", Arc::new(self.bytes_sent.finish()));
        put("bytes_received", Arc::new(self.bytes_received.finish()));
        put("reason", self.reason.finish()?);
        put("lifetime_ms", Arc::new(self.lifetime_ms.finish()));
        put("lifetime_rest_ns", Arc::new(self.lifetime_rest_ns.finish()));
        put("errno", self.errno.finish()?);
        put("port_via", self.port_via.finish()?);
        put("reuseaddr", self.reuseaddr.finish()?);
        put("why", self.why.finish()?);
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
    fn append(&mut self, loss: Option<&Loss>) {
        self.count.append_option(loss.map(Loss::events));
        let parts = loss.map(parts);
        for (at, column) in self.parts.iter_mut().enumerate() {
            column.append_option(parts.map(|parts| parts[at]));
        }
    }

    fn finish(&mut self, put: &mut Put<'_>) {
        put("count", Arc::new(self.count.finish()));
        for (name, column) in LOSS_PARTS.into_iter().zip(&mut self.parts) {
            put(name, Arc::new(column.finish()));
        }
    }
}
