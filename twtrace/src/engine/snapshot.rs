//! Owns: the state at one moment as plain rows, which the table, the JSON and the screen all show.
//! Must not know: how they are shown, in which order the user wants them.

mod build;
mod detail;
mod fold;
mod make;
mod named;
mod survey;

pub use build::Extent;
pub use fold::{Fold, FoldRow};
pub use named::AnyRow;
pub use survey::{FAILING_S, Survey};

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::keys::{By, PortKey, ProcessKey, RowKey, Target, TupleKey};
use super::pattern::Pattern;
use super::pools::Capacity;
use super::read::Figures;
use super::spread::Spread;
use crate::model::event::Reason;
use crate::model::filter::Omissions;
use crate::model::identity::Identity;
use crate::model::pool::Pressure;
use crate::model::ports::Ports;

/// A process and one thing it deals with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkRow {
    /// The process.
    pub process: ProcessKey,
    /// It does not exist any more.
    pub gone: bool,
    /// What it connects to, or serves.
    pub target: Target,
    /// TIME_WAIT sockets that live.
    pub live: u64,
    /// TIME_WAIT sockets made.
    pub created: u64,
    /// Overflows, and failures of connect() and bind().
    pub failed: u64,
    /// Of those, failures of connect() while TIME_WAIT sockets held at least half of the ports.
    pub starved: u64,
    /// Of the whole tuple, whichever process holds its ports; `None` for a served port, and where the netns' ports are
    /// not known.
    pub pressure: Option<Pressure>,
}

/// What a process has of a pool or a port. Of a pool there may be tens of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareRow {
    /// The process; [`ProcessKey::UNKNOWN`] for sockets and calls of which nobody knows whose they were.
    pub process: ProcessKey,
    /// TIME_WAIT sockets that live.
    pub live: u64,
    /// Calls that failed for want of a port within the last minute.
    pub failing: u64,
}

/// A process.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessRow {
    /// Its name for good; [`ProcessKey::UNKNOWN`] for sockets whose owner is not known.
    pub key: ProcessKey,
    /// Real uid when last seen.
    pub uid: u32,
    /// What user space found out about it, where the snapshot has [`Extent::identities`].
    pub identity: Option<Arc<Identity>>,
    /// It does not exist any more.
    pub gone: bool,
    /// Its figures.
    pub figures: Figures,
    /// What it mainly deals with: that with most live sockets; where the snapshot has [`Extent::links`], or a finding may be about it.
    pub main: Option<LinkRow>,
    /// Of what it deals with, that whose ports are used up or are used up soonest; likewise.
    pub hottest: Option<LinkRow>,
    /// How many things it deals with.
    pub targets: usize,
    /// Of the pools it draws from, the one that is full or full soonest.
    pub pressure: Option<Pressure>,
    /// What that usually means. [`Pattern::Unclear`] where the snapshot has no percentiles to tell it by.
    pub pattern: Pattern,
}

impl ProcessRow {
    /// What a line about it should name: where its ports run short, and else what it mainly deals with.
    pub fn told(&self) -> Option<&LinkRow> {
        told(self.hottest.as_ref(), self.main.as_ref())
    }
}

fn told<'a>(hottest: Option<&'a LinkRow>, main: Option<&'a LinkRow>) -> Option<&'a LinkRow> {
    hottest.filter(|link| link.pressure.is_some_and(|pressure| pressure.is_pressing())).or(main)
}

/// A pool of ports.
#[derive(Clone, Debug, PartialEq)]
pub struct TupleRow {
    /// Its name.
    pub key: TupleKey,
    /// Its figures.
    pub figures: Figures,
    /// How full it is; `None` where the netns' ports are not known.
    pub pressure: Option<Pressure>,
    /// Ports that sockets in other states than TIME_WAIT hold, where there are any: rows are many.
    pub others: Option<Box<Ports>>,
    /// Ports that TIME_WAIT sockets hold which are left out of what is counted.
    pub hidden: u32,
    /// The process that holds most of it.
    pub main: Option<ProcessKey>,
    /// Who holds sockets of it or finds no port in it, most held first, where a finding could be about it. Where there was no room for a process,
    /// its sockets and calls are in the figures alone.
    pub shares: Vec<ShareRow>,
    /// Calls that found no port in it within the last minute, whoever made them.
    pub wanted: u64,
}

impl TupleRow {
    /// Whether a finding could be about it: its ports are not known, are used to some part or fill, or calls fail.
    pub fn may_press(&self) -> bool {
        survey::may_press(self.pressure, self.wanted)
    }

    /// Its ports by the state of what holds them. Both states of TIME_WAIT sockets are counted as one.
    pub fn held(&self) -> Ports {
        let others = self.others.as_deref().copied().unwrap_or_default();
        let time_wait = self.pressure.map_or(self.figures.live as u32, |pressure| pressure.time_wait);
        Ports { time_wait, ..others }
    }
}

/// A port that could not be bound.
#[derive(Clone, Debug, PartialEq)]
pub struct NotBound {
    /// The port.
    pub key: PortKey,
    /// Calls that failed within the last minute, whoever made them.
    pub failed: u64,
    /// Who made them, most first; where there was no room for a process, its calls are in `failed` alone.
    pub shares: Vec<ShareRow>,
}

/// A remote address.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRow {
    /// The address.
    pub key: IpAddr,
    /// Its figures.
    pub figures: Figures,
}

/// A served port.
#[derive(Clone, Debug, PartialEq)]
pub struct PortRow {
    /// Its name.
    pub key: PortKey,
    /// Its figures.
    pub figures: Figures,
    /// The process that serves it.
    pub main: Option<ProcessKey>,
}

/// A container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRow {
    /// Its name; `None` is the host.
    pub key: Option<String>,
    /// Its figures.
    pub figures: Figures,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct NetnsRow {
    /// Its inode.
    pub key: u32,
    /// Its figures.
    pub figures: Figures,
    /// What it allows, where that is known.
    pub capacity: Option<Capacity>,
    /// The process with most live sockets in it.
    pub main: Option<ProcessKey>,
    /// TIME_WAIT sockets that were refused within the last minute.
    pub refused: u64,
}

/// A row that no finding could be about, and of which only that is worked out by which it is ordered.
#[derive(Clone, Debug, PartialEq)]
pub struct BareRow {
    /// Its name.
    pub key: RowKey,
    /// TIME_WAIT sockets that live.
    pub live: u64,
    /// TIME_WAIT sockets made.
    pub created: u64,
    /// Of a pool of ports only, as [`TupleRow::pressure`].
    pub pressure: Option<Pressure>,
}

/// The network namespace that is closest to its `tcp_max_tw_buckets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fullest {
    /// Its inode.
    pub netns: u32,
    /// TIME_WAIT sockets that live in it.
    pub live: u64,
    /// Its `tcp_max_tw_buckets`.
    #[serde(rename = "tcp_max_tw_buckets")]
    pub max_tw_buckets: u32,
}

/// What the tracker's bounds made it drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Times that what was quiet longest had to make room, and is in rows of others since.
    pub rows: u64,
    /// Events of which it is not told apart whose they are, for want of room: they are in rows of others, and in the head.
    pub events: u64,
    /// Live sockets that there was no room for.
    pub sockets: u64,
}

/// The state at one moment. Rows come with most live sockets first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// CLOCK_MONOTONIC in nanoseconds.
    pub now_ns: u64,
    /// CLOCK_MONOTONIC when tracing began, in nanoseconds.
    pub began_ns: u64,
    /// All together.
    pub total: Figures,
    /// Created in each of the last 120 full seconds, oldest first.
    pub created_history: Vec<u32>,
    /// Ended in each of the last 120 full seconds, oldest first.
    pub ended_history: Vec<u32>,
    /// The network namespace closest to its limit of sockets, where limits are known.
    pub fullest: Option<Fullest>,
    /// The pool of ports that is full or full soonest.
    pub hottest: Option<TupleRow>,
    /// Ports that somebody failed to bind within the last minute, most failures first.
    pub not_bound: Vec<NotBound>,
    /// Who most likely owned the sockets there whose owner nobody saw: who listens, or the one process that was seen.
    pub inferred: HashMap<Target, ProcessKey>,
    /// What had to be dropped.
    pub dropped: Dropped,
    /// Ends for other reasons are not counted; none: all are.
    pub only: Vec<Reason>,
    /// What was left out before it was counted.
    pub part: Omissions,
    /// By process.
    pub processes: Vec<ProcessRow>,
    /// By pool of ports.
    pub tuples: Vec<TupleRow>,
    /// By remote address.
    pub peers: Vec<PeerRow>,
    /// By served port.
    pub ports: Vec<PortRow>,
    /// By container.
    pub containers: Vec<ContainerRow>,
    /// By network namespace.
    pub netns: Vec<NetnsRow>,
    /// Of the first table, those that [`Extent::bare`] leaves out of it.
    pub bare: Vec<BareRow>,
    /// Of the tables that are filled: what is not told apart for want of room, where there is such.
    pub others: Vec<(By, Figures)>,
}

/// Everything about one row.
#[derive(Clone, Debug)]
pub struct Detail {
    /// When that was, CLOCK_MONOTONIC in nanoseconds.
    pub now_ns: u64,
    /// It is a process that does not exist any more.
    pub gone: bool,
    /// What user space found out about it, of a process only.
    pub identity: Option<Arc<Identity>>,
    /// What its figures usually mean.
    pub pattern: Pattern,
    /// Its figures.
    pub figures: Figures,
    /// How long its connections lived, in microseconds.
    pub age_us: Spread,
    /// Payload sent a connection, in bytes.
    pub sent: Spread,
    /// Payload received a connection, in bytes.
    pub received: Spread,
    /// Created in each of the last 120 full seconds, oldest first.
    pub created_history: Vec<u32>,
    /// Ended in each of the last 120 full seconds, oldest first.
    pub ended_history: Vec<u32>,
    /// As [`Snapshot::inferred`].
    pub inferred: HashMap<Target, ProcessKey>,
    /// Which processes deal with what in it, those with most live sockets first.
    pub links: Vec<LinkRow>,
    /// Remote addresses of the live sockets, and how many each has, most first. Of a process or a served port only.
    pub peers: Vec<(IpAddr, u64)>,
}
