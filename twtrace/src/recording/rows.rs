//! Owns: making events of the rows of a batch again.
//! Must not know: files, messages.
//!
//! What comes back is the event that went in, but for this: command lines are not recorded, and an identity of which nothing is known is none.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};

use super::cache::Caches;
pub use super::column::Malformed;
use super::column::{NumberColumn, Table};
use super::schema::LOST;
use crate::model::event::{
    AbortWhy, Comm, Conn, Errno, Event, Kind, Loss, Opener, PortVia, Process, Reason, Role, Substate, Via,
};
use crate::model::identity::{Cmdline, Container, Identity, Names, Naming};

const MILLI_NS: u64 = 1_000_000;
/// Identities of a batch that are shared by rows, at most.
const IDENTITIES: usize = 8192;

type Text = Option<Arc<str>>;

fn texts(batch: &RecordBatch, caches: &mut Caches, name: &'static str) -> Result<Table<Text>, Malformed> {
    Table::of(batch, caches, name, |text| Ok(Some(Arc::from(text))))
}

fn comms(batch: &RecordBatch, caches: &mut Caches, name: &'static str) -> Result<Table<Comm>, Malformed> {
    Table::of(batch, caches, name, |text| Ok(Comm::new(text)))
}

/// The rows of one batch.
pub struct Rows {
    len: usize,
    event: Table<Kind>,
    mono_ns: NumberColumn<UInt64Type>,
    conn: ConnRows,
    role: Table<Role>,
    substate: Table<Substate>,
    timeout_ms: NumberColumn<UInt32Type>,
    cookie: NumberColumn<UInt64Type>,
    owner: OwnerRows,
    outcome: OutcomeRows,
    loss: Vec<NumberColumn<UInt64Type>>,
    count: NumberColumn<UInt64Type>,
}

struct ConnRows {
    netns: NumberColumn<UInt32Type>,
    ifindex: NumberColumn<UInt32Type>,
    saddr: Table<IpAddr>,
    daddr: Table<IpAddr>,
    sport: NumberColumn<UInt16Type>,
    dport: NumberColumn<UInt16Type>,
}

struct OwnerRows {
    pid: NumberColumn<UInt32Type>,
    tid: NumberColumn<UInt32Type>,
    comm: Table<Comm>,
    uid: NumberColumn<UInt32Type>,
    cgroup_id: NumberColumn<UInt64Type>,
    start_ns: NumberColumn<UInt64Type>,
    via: Table<Via>,
    /// exe, cgroup, container, container_id, pod_uid, container_name, image, pod, pod_namespace.
    identity: [Table<Text>; 9],
    /// One identity for all rows that have the same.
    known: RefCell<HashMap<[Option<usize>; 9], Arc<Identity>>>,
    opener_pid: NumberColumn<UInt32Type>,
    opener_comm: Table<Comm>,
    opener_start_ns: NumberColumn<UInt64Type>,
}

struct OutcomeRows {
    age_ms: NumberColumn<UInt64Type>,
    age_rest_ns: NumberColumn<UInt32Type>,
    bytes_sent: NumberColumn<UInt64Type>,
    bytes_received: NumberColumn<UInt64Type>,
    reason: Table<Reason>,
    lifetime_ms: NumberColumn<UInt64Type>,
    lifetime_rest_ns: NumberColumn<UInt32Type>,
    errno: Table<Errno>,
    port_via: Table<PortVia>,
    reuseaddr: Table<bool>,
    range: [NumberColumn<UInt16Type>; 2],
    why: Table<AbortWhy>,
}

impl Rows {
    /// Looks at a batch of a recording. A column that is not there reads as null.
    ///
    /// # Errors
    /// Where a column has another type, or its dictionary a word that twtrace does not know.
    pub fn new(batch: &RecordBatch) -> Result<Self, Malformed> {
        Self::with(&mut Caches::default(), batch)
    }

    /// As [`Rows::new`], for one batch of many: what was made of dictionaries is kept in `caches`.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn with(caches: &mut Caches, batch: &RecordBatch) -> Result<Self, Malformed> {
        let loss = LOST.into_iter().map(|name| NumberColumn::of(batch, name));
        Ok(Self {
            len: batch.num_rows(),
            event: Table::parsed(batch, caches, "event")?,
            mono_ns: NumberColumn::of(batch, "mono_ns")?,
            conn: ConnRows::new(batch, caches)?,
            role: Table::parsed(batch, caches, "role")?,
            substate: Table::parsed(batch, caches, "substate")?,
            timeout_ms: NumberColumn::of(batch, "timeout_ms")?,
            cookie: NumberColumn::of(batch, "cookie")?,
            owner: OwnerRows::new(batch, caches)?,
            outcome: OutcomeRows::new(batch, caches)?,
            loss: loss.collect::<Result<_, _>>()?,
            count: NumberColumn::of(batch, "count")?,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many say what was lost.
    pub fn lost(&self) -> usize {
        (0..self.len).filter(|row| self.event.get(*row) == Some(Kind::Lost)).count()
    }

    /// The event of a row; `row` is below [`Rows::len`].
    ///
    /// # Errors
    /// Where the row lacks what every event of its kind has.
    pub fn event(&self, row: usize) -> Result<Event, Malformed> {
        let kind = self.event.need(row)?;
        let mut event = Event::new(kind, self.mono_ns.need(row)?, None);
        if kind == Kind::Lost {
            event.loss = Some(Box::new(self.loss(row)));
            return Ok(event);
        }
        event.conn = Some(self.conn.at(row)?);
        event.role = self.role.get(row).unwrap_or(Role::usual(kind));
        event.substate = self.substate.get(row);
        event.timeout_ms = self.timeout_ms.get(row);
        event.cookie = self.cookie.get(row);
        self.owner.fill(row, &mut event)?;
        self.outcome.fill(row, &mut event);
        Ok(event)
    }

    fn loss(&self, row: usize) -> Loss {
        let part = |at: usize| self.loss.get(at).and_then(|column| column.get(row)).unwrap_or(0);
        Loss::from_parts(std::array::from_fn(part)).of_events(self.count.get(row).unwrap_or(0))
    }
}

impl ConnRows {
    fn new(batch: &RecordBatch, caches: &mut Caches) -> Result<Self, Malformed> {
        Ok(Self {
            netns: NumberColumn::of(batch, "netns")?,
            ifindex: NumberColumn::of(batch, "ifindex")?,
            saddr: Table::parsed(batch, caches, "saddr")?,
            daddr: Table::parsed(batch, caches, "daddr")?,
            sport: NumberColumn::of(batch, "sport")?,
            dport: NumberColumn::of(batch, "dport")?,
        })
    }

    fn at(&self, row: usize) -> Result<Conn, Malformed> {
        Ok(Conn {
            netns: self.netns.need(row)?,
            ifindex: self.ifindex.get(row).unwrap_or(0),
            saddr: self.saddr.need(row)?,
            daddr: self.daddr.need(row)?,
            sport: self.sport.need(row)?,
            dport: self.dport.need(row)?,
        })
    }
}

impl OwnerRows {
    fn new(batch: &RecordBatch, caches: &mut Caches) -> Result<Self, Malformed> {
        Ok(Self {
            pid: NumberColumn::of(batch, "pid")?,
            tid: NumberColumn::of(batch, "tid")?,
            comm: comms(batch, caches, "comm")?,
            uid: NumberColumn::of(batch, "uid")?,
            cgroup_id: NumberColumn::of(batch, "cgroup_id")?,
            start_ns: NumberColumn::of(batch, "start_ns")?,
            via: Table::parsed(batch, caches, "owner_via")?,
            identity: [
                texts(batch, caches, "exe")?,
                texts(batch, caches, "cgroup")?,
                texts(batch, caches, "container")?,
                texts(batch, caches, "container_id")?,
                texts(batch, caches, "pod_uid")?,
                texts(batch, caches, "container_name")?,
                texts(batch, caches, "image")?,
                texts(batch, caches, "pod")?,
                texts(batch, caches, "pod_namespace")?,
            ],
            known: RefCell::default(),
            opener_pid: NumberColumn::of(batch, "opener_pid")?,
            opener_comm: comms(batch, caches, "opener_comm")?,
            opener_start_ns: NumberColumn::of(batch, "opener_start_ns")?,
        })
    }

    fn fill(&self, row: usize, event: &mut Event) -> Result<(), Malformed> {
        if let Some(pid) = self.pid.get(row) {
            event.owner = Some(Process {
                pid,
                tid: self.tid.get(row).unwrap_or(pid),
                uid: self.uid.need(row)?,
                cgroup_id: self.cgroup_id.get(row).unwrap_or(0),
                start_ns: self.start_ns.get(row).unwrap_or(0),
                comm: self.comm.need(row)?,
            });
        }
        event.via = self.via.get(row);
        event.identity = self.identity(row);
        if let Some(pid) = self.opener_pid.get(row) {
            let start_ns = self.opener_start_ns.get(row).unwrap_or(0);
            event.opener = Some(Opener { pid, start_ns, comm: self.opener_comm.need(row)? });
        }
        Ok(())
    }

    fn identity(&self, row: usize) -> Option<Arc<Identity>> {
        let indexes = std::array::from_fn(|at| self.identity[at].index(row));
        if indexes.iter().all(Option::is_none) {
            return None;
        }
        let mut known = self.known.borrow_mut();
        // Of a batch of strangers, each another one, few are worth keeping.
        if known.len() >= IDENTITIES {
            known.clear();
        }
        Some(known.entry(indexes).or_insert_with(|| Arc::new(self.look_up(row))).clone())
    }

    fn look_up(&self, row: usize) -> Identity {
        let [exe, cgroup, container, id, pod_uid, name, image, pod, pod_namespace] =
            std::array::from_fn(|at| self.identity[at].get_ref(row).cloned().flatten());
        let owned = |text: Text| text.map(|text| text.to_string());
        let container = container.and_then(|shown| {
            let (runtime, short) = shown.split_once(':')?;
            let (runtime, short) = (runtime.parse().ok()?, short.to_owned());
            let id = id.map_or_else(|| short.clone(), |id| id.to_string());
            Some(Container { runtime, id, short, pod_uid: owned(pod_uid) })
        });
        let names = Names {
            name: owned(name),
            image: owned(image),
            pod: owned(pod),
            pod_namespace: owned(pod_namespace),
        };
        let names = if names == Names::default() { Naming::default() } else { Naming::from(names) };
        Identity { exe: owned(exe), cmdline: Cmdline::default(), cgroup: owned(cgroup), container, names }
    }
}

impl OutcomeRows {
    fn new(batch: &RecordBatch, caches: &mut Caches) -> Result<Self, Malformed> {
        Ok(Self {
            age_ms: NumberColumn::of(batch, "age_ms")?,
            age_rest_ns: NumberColumn::of(batch, "age_rest_ns")?,
            bytes_sent: NumberColumn::of(batch, "bytes_sent")?,
            bytes_received: NumberColumn::of(batch, "bytes_received")?,
            reason: Table::parsed(batch, caches, "reason")?,
            lifetime_ms: NumberColumn::of(batch, "lifetime_ms")?,
            lifetime_rest_ns: NumberColumn::of(batch, "lifetime_rest_ns")?,
            errno: Table::parsed(batch, caches, "errno")?,
            port_via: Table::parsed(batch, caches, "port_via")?,
            reuseaddr: Table::parsed(batch, caches, "reuseaddr")?,
            range: [NumberColumn::of(batch, "range_low")?, NumberColumn::of(batch, "range_high")?],
            why: Table::parsed(batch, caches, "why")?,
        })
    }

    fn fill(&self, row: usize, event: &mut Event) {
        let whole = |ms: &NumberColumn<UInt64Type>, rest: &NumberColumn<UInt32Type>| {
            let rest = u64::from(rest.get(row).unwrap_or(0));
            ms.get(row).map(|ms| ms.saturating_mul(MILLI_NS).saturating_add(rest))
        };
        event.age_ns = whole(&self.age_ms, &self.age_rest_ns);
        event.lifetime_ns = whole(&self.lifetime_ms, &self.lifetime_rest_ns);
        event.bytes_sent = self.bytes_sent.get(row);
        event.bytes_received = self.bytes_received.get(row);
        event.reason = self.reason.get(row);
        event.errno = self.errno.get(row);
        event.port_via = self.port_via.get(row);
        event.reuseaddr = self.reuseaddr.get(row);
        let [low, high] = &self.range;
        event.own_range = low.get(row).zip(high.get(row));
        event.why = self.why.get(row);
    }
}
