//! Owns: what a recording comes to: the one model that the text, the JSON, the page and the comparison of two recordings show.
//! Must not know: how it was counted, how it is shown.

use std::net::IpAddr;

use crate::diagnose::finding::{Finding, Severity};
pub use crate::engine::{Figures, Target};
use crate::engine::{PortKey, TupleKey};
use crate::model::clock::Clock;
use crate::model::event::{Loss, Reason};
use crate::model::identity::Names;
use crate::recording::{Head, Namespace, Tail};

/// What a table has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// The owner, or the caller of what failed.
    Process,
    /// A remote address.
    Peer,
    /// A pool of ephemeral ports.
    Tuple,
    /// A served port, or one that could not be bound.
    Port,
    /// The owner's container, or the host.
    Container,
    /// A network namespace.
    Netns,
    /// Why a TIME_WAIT socket ended.
    Reason,
    /// A machine, between two boots.
    Host,
}

// As below, and hosts, of which there may be several.
crate::model::words!(By, EVERY, {
    Process => "process", Peer => "peer", Tuple => "tuple", Port => "port", Container => "container", Netns => "netns",
    Reason => "reason", Host => "host",
});

impl By {
    /// All of them that a recording of one machine is asked for, in the interface's order.
    pub const ALL: &'static [Self] = Self::EVERY.split_last().expect("it has eight").1;
}

/// Names a row. Texts are hostile until escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A process.
    Process {
        /// What user space calls pid.
        pid: u32,
        /// When it started, CLOCK_BOOTTIME in nanoseconds.
        start_ns: u64,
        /// Its name.
        comm: String,
        /// Real uid.
        uid: u32,
        /// Its program.
        exe: Option<String>,
        /// Its container.
        container: Option<String>,
    },
    /// All processes of one name.
    Comm(String),
    /// Sockets whose owner nobody knows.
    Unknown,
    /// A remote address.
    Peer(IpAddr),
    /// A pool of ports.
    Tuple(TupleKey),
    /// A local port.
    Port(PortKey),
    /// A container by its display name; `None` is the host.
    Container(Option<String>),
    /// A network namespace by its inode, and its name where it has one.
    Netns(u32, Option<String>),
    /// Why sockets ended.
    Reason(Reason),
    /// A machine, between two boots.
    Host {
        /// What it is called here: its name, and more where several have the same.
        label: String,
        /// Its id; empty where it is not known.
        machine_id: String,
        /// Which boot; empty where it is not known.
        boot_id: String,
        /// Release of its kernel.
        kernel: String,
        /// How many recordings of it were read.
        recordings: u64,
    },
    /// All that could not be told apart for want of room.
    Others,
}

impl Name {
    /// The machine that recorded.
    pub(super) fn host(head: &Head, label: String, recordings: u64) -> Self {
        let Head { machine_id, boot_id, kernel, .. } = head.clone();
        Self::Host { label, machine_id, boot_id, kernel, recordings }
    }
}

/// The most ephemeral ports of a tuple that TIME_WAIT sockets held at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// The tuple.
    pub tuple: TupleKey,
    /// Ports that were held.
    pub ports_in_use: u32,
    /// Ports that the namespace allows.
    pub ports: u32,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub at_ns: u64,
}

impl Peak {
    /// Between 0 and 1, and above 1 where more was held than is allowed now.
    pub fn pressure(&self) -> f64 {
        if self.ports == 0 { 1.0 } else { f64::from(self.ports_in_use) / f64::from(self.ports) }
    }
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportRow {
    /// Whose it is, where there are several machines. Hostile until escaped.
    pub host: Option<String>,
    /// What it is about.
    pub name: Name,
    /// What was counted.
    pub figures: Figures,
    /// Of a process and a tuple: the fullest pool. `None` where the netns' ports are not known.
    pub peak: Option<Peak>,
    /// Of a process: what it mainly deals with.
    pub target: Option<Target>,
    /// Of a tuple and a port: the name of the process that most happened with.
    pub main: Option<String>,
    /// Of a process: the worst finding that it has a part in, where that is bad news.
    pub severity: Option<Severity>,
    /// Of a process: when it did what.
    pub strip: Option<Strip>,
    /// Of a process and a container: what the container's runtime calls it, where a recording knows.
    pub names: Option<Names>,
}

/// What a process did in each stretch of a recording; all are as long, and together they are all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// TIME_WAIT sockets made.
    pub created: Vec<u32>,
    /// Overflows, and failures of connect() and bind().
    pub failed: Vec<u32>,
}

impl ReportRow {
    /// A row with nothing but figures.
    pub fn new(name: Name, figures: Figures) -> Self {
        Self {
            host: None,
            name,
            figures,
            peak: None,
            target: None,
            main: None,
            severity: None,
            strip: None,
            names: None,
        }
    }
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimelineSpan {
    /// CLOCK_MONOTONIC at its beginning, in nanoseconds.
    pub at_ns: u64,
    /// Events in it.
    pub created: u32,
    /// Events in it.
    pub ended: u32,
    /// Events in it.
    pub overflow: u32,
    /// Events in it.
    pub connect_failed: u32,
    /// Events in it.
    pub bind_failed: u32,
    /// Events in it.
    pub aborted: u32,
    /// Events that were lost, by when that was noticed.
    pub lost: u32,
    /// TIME_WAIT sockets at its end.
    pub live: u32,
    /// The most in it.
    pub peak_live: u32,
    /// The highest pressure of any tuple in it, by TIME_WAIT sockets alone.
    pub pressure: f32,
}

/// A recording, stretch by stretch, oldest first, without gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// How long each stretch is, in nanoseconds.
    pub every_ns: u64,
    /// The stretches.
    pub moments: Vec<TimelineSpan>,
}

/// A number and when it was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The number.
    pub value: u64,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub at_ns: u64,
}

/// What is not told apart, so that memory has an end. It is in rows of others; totals have all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Events beyond the first combinations of a process, its peer and its port.
    pub events: u64,
    /// Names, programs, cgroups, containers and addresses that there was no room for: they are called others.
    pub texts: u64,
    /// Names of owners beyond those of the most figures.
    pub names: u64,
    /// Rows of tables beyond those of the most figures.
    pub rows: Vec<(By, u64)>,
}

/// What a recording comes to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file, as it was given. Hostile until escaped.
    pub file: String,
    /// How many recordings those are.
    pub recordings: u64,
    /// What is known from its start. Of several machines: what they have in common, and the time since 1970.
    pub head: Head,
    /// What is known from its end.
    pub tail: Option<Tail>,
    /// Network namespaces that were met in between, with their values of then.
    pub met: Vec<Namespace>,
    /// In words for a user, where the end is missing: why.
    pub missing: Option<String>,
    /// In words for a user, where events could not be read and are left out: how many, and where.
    pub damaged: Option<String>,
    /// The filters that were applied now, as they were given.
    pub filters: Vec<String>,
    /// What ties times to the calendar.
    pub clock: Clock,
    /// CLOCK_MONOTONIC at the end, or at the last event where the end is missing, in nanoseconds.
    pub ended_ns: u64,
    /// When something was recorded, from and to, in order and apart; as the other times are.
    pub covered: Vec<(u64, u64)>,
    /// TIME_WAIT sockets that lived when a recording ended that none goes on from, while there are later ones of the same machine: they are
    /// neither live nor ended.
    pub left: u64,
    /// Events that passed the filter, `lost` left out.
    pub passed: u64,
    /// All together.
    pub total: Figures,
    /// The fullest pool of all.
    pub fullest: Option<Peak>,
    /// There are pools in network namespaces whose ports are not known.
    pub has_unmeasured_pools: bool,
    /// TIME_WAIT sockets that were there before, or that were heard of when they ended.
    pub listed: u64,
    /// The most created in one second (counted from the beginning), and when that second began.
    pub busiest: Reached,
    /// The most that lived at one time.
    pub peak_live: Reached,
    /// What was lost, and may have been.
    pub lost: Loss,
    /// What `twtrace doctor FILE` finds, worst first, as far as it says that something is wrong; `None` under a filter.
    pub findings: Option<Vec<Finding>>,
    /// By the owner's name.
    pub comms: Vec<ReportRow>,
    /// What is not told apart.
    pub folded: Folded,
    /// The tables that were wanted, in the order in which they were.
    pub tables: Vec<(By, Vec<ReportRow>)>,
    /// Stretch by stretch.
    pub timeline: Timeline,
    /// Where there are several machines, each: times are then since 1970 everywhere, and no row is of two of them.
    pub hosts: Vec<Host>,
}

/// One of several machines.
#[derive(Clone, Debug)]
pub struct Host {
    /// What it is called here. Hostile until escaped.
    pub label: String,
    /// What its first recording says at its start; times are since 1970.
    pub head: Head,
    /// And its last one at its end.
    pub tail: Option<Tail>,
}

impl Report {
    /// How long was recorded, by one machine at least, in seconds; never 0.
    pub fn duration_s(&self) -> f64 {
        let gaps = self.covered.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].1)).sum();
        (self.ended_ns.saturating_sub(self.head.mono_ns).saturating_sub(gaps).max(1)) as f64 / 1e9
    }

    /// Events a second.
    pub fn per_second(&self, events: u64) -> f64 {
        events as f64 / self.duration_s()
    }

    /// A table, where it was wanted.
    pub fn table(&self, by: By) -> Option<&[ReportRow]> {
        self.tables.iter().find(|(known, _)| *known == by).map(|(_, rows)| &rows[..])
    }
}
