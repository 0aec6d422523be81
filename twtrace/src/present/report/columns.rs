//! Owns: taking the columns that are counted out of a recording's batches, without making events of them.
//! Must not know: what is counted, files.
//!
//! Each text and each address of a dictionary is looked up once; rows are then numbers. So an event costs a tenth of what it costs to make
//! an `Event` of it. Rows are made a few at a time, one column after the other: what lies side by side is read at one time, where a row
//! after the other would wait for memory in each column. Making them needs nothing but the columns, so another thread can.

mod column;

use std::net::IpAddr;

use arrow_array::RecordBatch;
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};

use column::{ReportNumbers, Texts, Words};

use super::count::Counting;
use super::namings::Namings;
use crate::engine::Engine;
use crate::engine::failures::Failures;
use crate::engine::intern::NONE;
use crate::engine::row::{Address, Owner, Row};
use crate::model::escape::printable;
use crate::model::event::{AbortWhy, Errno, Kind, Loss, PortVia, Reason, Role, Substate, Via};
use crate::recording::Dictionary;
use crate::recording::schema::LOST;

/// Takes the batches of a recording in.
#[derive(Debug, Default)]
pub(super) struct Reader {
    saddr: Dictionary<u32>,
    daddr: Dictionary<u32>,
    comm: Dictionary<u32>,
    exe: Dictionary<u32>,
    cgroup: Dictionary<u32>,
    container: Dictionary<u32>,
    names: [Dictionary<u32>; NAMES.len()],
    moved: Moved,
    skipped: u64,
}

/// What a recording's times come to.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    /// Is added to every time.
    shift: i64,
    /// What is listed at this time, when that was added to it, is known: it is passed over.
    known_ns: Option<u64>,
}

/// The columns that are looked at only where there is an owner.
struct Owners {
    pid: ReportNumbers<UInt32Type>,
    uid: ReportNumbers<UInt32Type>,
    start_ns: ReportNumbers<UInt64Type>,
    comm: Texts,
    exe: Texts,
    cgroup: Texts,
    container: Texts,
    /// In the order of [`NAMES`].
    names: [Texts; NAMES.len()],
}

impl Owners {
    fn fill(&self, from: usize, rows: &mut [Row]) {
        let nobody = Owner { pid: 0, start: 0, comm: NONE, uid: 0, cgroup: NONE, container: NONE };
        self.pid.fill(from, rows, |row, pid| row.owner = Some(Owner { pid, ..nobody }));
        let of = |set: fn(&mut Owner, u32)| {
            move |row: &mut Row, value| row.owner.iter_mut().for_each(|owner| set(owner, value))
        };
        self.start_ns
            .fill(from, rows, |row, start| row.owner.iter_mut().for_each(|owner| owner.start = start));
        self.uid.fill(from, rows, of(|owner, uid| owner.uid = uid));
        self.comm.fill(from, rows, of(|owner, comm| owner.comm = comm));
        self.cgroup.fill(from, rows, of(|owner, cgroup| owner.cgroup = cgroup));
        self.container.fill(from, rows, of(|owner, container| owner.container = container));
        self.exe.fill(from, rows, |row, exe| row.exe = exe);
    }

    /// Says what the owner's container is called, where a row knows.
    #[inline]
    fn name(&self, row: usize, owner: Option<&Owner>, namings: &mut Namings) {
        if let Some(Owner { container, .. }) = owner.filter(|owner| owner.container != NONE) {
            namings.say(*container, self.names.each_ref().map(|column| column.get(row)));
        }
    }
}

/// The columns of a batch.
pub(super) struct Columns {
    len: usize,
    moved: Moved,
    event: Words<Kind>,
    mono_ns: ReportNumbers<UInt64Type>,
    netns: ReportNumbers<UInt32Type>,
    saddr: Texts,
    daddr: Texts,
    sport: ReportNumbers<UInt16Type>,
    dport: ReportNumbers<UInt16Type>,
    role: Words<Role>,
    substate: Words<Substate>,
    timeout_ms: ReportNumbers<UInt32Type>,
    owners: Owners,
    via: Words<Via>,
    age_ms: ReportNumbers<UInt64Type>,
    age_rest_ns: ReportNumbers<UInt32Type>,
    sent: ReportNumbers<UInt64Type>,
    received: ReportNumbers<UInt64Type>,
    reason: Words<Reason>,
    errno: Words<Errno>,
    port_via: Words<PortVia>,
    reuseaddr: Words<bool>,
    range: [ReportNumbers<UInt16Type>; 2],
    why: Words<AbortWhy>,
    lifetime_ms: ReportNumbers<UInt64Type>,
    lost: [ReportNumbers<UInt64Type>; LOST.len()],
    count: ReportNumbers<UInt64Type>,
}

/// Some rows of a batch, one after the other.
pub(super) struct Piece {
    from: usize,
    pub(super) rows: Vec<Row>,
    /// In words for a user: what comes after these rows is none.
    pub(super) whole: Result<(), String>,
}

/// Rows of a [`Piece`]: as many as stay in the cache from where they are made to where they are counted.
const PIECE: usize = 4096;
/// Rows that are made at a time, and looked up at a time: they stay in the nearest cache.
const AT_ONCE: usize = 64;

/// What a container is called, in the order of [`Called`](super::namings::Called).
const NAMES: [&str; 4] = ["container_name", "image", "pod", "pod_namespace"];

/// Every column that is looked at, besides [`NAMES`] and [`LOST`].
const COLUMNS: [&str; 31] = [
    "event",
    "mono_ns",
    "netns",
    "saddr",
    "daddr",
    "sport",
    "dport",
    "role",
    "substate",
    "timeout_ms",
    "pid",
    "uid",
    "start_ns",
    "comm",
    "exe",
    "cgroup",
    "container",
    "owner_via",
    "age_ms",
    "age_rest_ns",
    "bytes_sent",
    "bytes_received",
    "reason",
    "errno",
    "port_via",
    "reuseaddr",
    "range_low",
    "range_high",
    "why",
    "lifetime_ms",
    "count",
];

/// The names of all columns that are looked at.
pub(super) fn wanted() -> Vec<&'static str> {
    // The calendar's time is what the reader checks the clock's with.
    COLUMNS.into_iter().chain(NAMES).chain(LOST).chain(["time"]).collect()
}

impl Reader {
    /// `shift` is added to every time; what is listed at `known_ns` is known already.
    pub(super) fn new(shift: i64, known_ns: Option<u64>) -> Self {
        let known_ns = known_ns.map(|known_ns| known_ns.saturating_add_signed(shift));
        Self { moved: Moved { shift, known_ns }, ..Self::default() }
    }

    /// How many rows were passed over.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Counts a piece of a batch in, of which these are the columns.
    ///
    /// # Errors
    /// In words for a user, where the batch holds what no recording holds; rows before that were counted.
    pub(super) fn count(
        &mut self,
        columns: &Columns,
        piece: &Piece,
        counting: &mut Counting,
    ) -> Result<(), String> {
        let mut groups = Vec::with_capacity(AT_ONCE);
        for (first, rows) in (piece.from..).step_by(AT_ONCE).zip(piece.rows.chunks(AT_ONCE)) {
            groups.clear();
            groups.extend(rows.iter().map(|row| columns.counts(row).then(|| counting.group(row))));
            for ((at, row), group) in (first..).zip(rows).zip(&groups) {
                match group {
                    Some(group) => {
                        columns.owners.name(at, row.owner.as_ref(), &mut counting.namings);
                        counting.take(row, *group);
                    }
                    None if row.kind == Kind::Lost => counting.lose(row.mono_ns, &columns.loss(at)),
                    None => self.skipped += 1,
                }
            }
        }
        piece.whole.clone()
    }

    /// The columns of a batch; its texts and addresses are numbered.
    ///
    /// # Errors
    /// In words for a user, where the batch holds what no recording holds.
    pub(super) fn columns(
        &mut self,
        batch: &RecordBatch,
        counting: &mut Counting,
    ) -> Result<Columns, String> {
        let daddr = Texts::of(&mut self.daddr, batch, "daddr", |text| Ok(counting.peer_id(&address(text)?)))?;
        let Engine { texts, addresses, .. } = &mut counting.engine;
        let mut text = |text: &str| Ok(texts.id_of(text, text.len()));
        let [name, image, pod, namespace] = &mut self.names;
        let owners = Owners {
            pid: ReportNumbers::of(batch, "pid")?,
            uid: ReportNumbers::of(batch, "uid")?,
            start_ns: ReportNumbers::of(batch, "start_ns")?,
            comm: Texts::of(&mut self.comm, batch, "comm", &mut text)?,
            exe: Texts::of(&mut self.exe, batch, "exe", &mut text)?,
            cgroup: Texts::of(&mut self.cgroup, batch, "cgroup", &mut text)?,
            container: Texts::of(&mut self.container, batch, "container", &mut text)?,
            names: [
                Texts::of(name, batch, NAMES[0], &mut text)?,
                Texts::of(image, batch, NAMES[1], &mut text)?,
                Texts::of(pod, batch, NAMES[2], &mut text)?,
                Texts::of(namespace, batch, NAMES[3], &mut text)?,
            ],
        };
        let [one, two, three, four, five, six, seven, eight, nine, ten] =
            LOST.map(|name| ReportNumbers::of(batch, name));
        Ok(Columns {
            len: batch.num_rows(),
            moved: self.moved,
            event: Words::of(batch, "event")?,
            mono_ns: ReportNumbers::of(batch, "mono_ns")?,
            netns: ReportNumbers::of(batch, "netns")?,
            saddr: Texts::of(&mut self.saddr, batch, "saddr", |text| {
                Ok(addresses.id(&Address(address(text)?)))
            })?,
            daddr,
            sport: ReportNumbers::of(batch, "sport")?,
            dport: ReportNumbers::of(batch, "dport")?,
            role: Words::of(batch, "role")?,
            substate: Words::of(batch, "substate")?,
            timeout_ms: ReportNumbers::of(batch, "timeout_ms")?,
            owners,
            via: Words::of(batch, "owner_via")?,
            age_ms: ReportNumbers::of(batch, "age_ms")?,
            age_rest_ns: ReportNumbers::of(batch, "age_rest_ns")?,
            sent: ReportNumbers::of(batch, "bytes_sent")?,
            received: ReportNumbers::of(batch, "bytes_received")?,
            reason: Words::of(batch, "reason")?,
            errno: Words::of(batch, "errno")?,
            port_via: Words::of(batch, "port_via")?,
            reuseaddr: Words::of(batch, "reuseaddr")?,
            range: [ReportNumbers::of(batch, "range_low")?, ReportNumbers::of(batch, "range_high")?],
            why: Words::of(batch, "why")?,
            lifetime_ms: ReportNumbers::of(batch, "lifetime_ms")?,
            lost: [one?, two?, three?, four?, five?, six?, seven?, eight?, nine?, ten?],
            count: ReportNumbers::of(batch, "count")?,
        })
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("'{}' is no address", printable(text)))
}

impl Columns {
    /// Whether a row is an event that was not counted before.
    fn counts(&self, row: &Row) -> bool {
        match row.kind {
            Kind::Lost => false,
            Kind::Listed => self.moved.known_ns != Some(row.mono_ns),
            _ => true,
        }
    }

    /// Where the pieces of the batch begin.
    pub(super) fn pieces(&self) -> impl Iterator<Item = usize> {
        (0..self.len).step_by(PIECE)
    }

    /// The piece that begins there; `rows` is what it takes its room from.
    pub(super) fn piece(&self, from: usize, mut rows: Vec<Row>) -> Piece {
        rows.clear();
        let to = self.len.min(from + PIECE);
        let mut parts = (from..to).step_by(AT_ONCE);
        let whole = parts.try_for_each(|part| self.add(part, to.min(part + AT_ONCE), &mut rows));
        Piece { from, rows, whole }
    }

    /// Tells of each row of a piece that is an event.
    pub(super) fn tell(&self, piece: &Piece, failures: &mut Failures) {
        piece.rows.iter().filter(|row| self.counts(row)).for_each(|row| failures.take(row));
    }

    /// Adds the rows from one to before another.
    ///
    /// # Errors
    /// As [`Reader::count`]: the rows before that are added.
    fn add(&self, from: usize, to: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        let known = rows.len();
        let mut done = Ok(());
        for at in from..to {
            let kind = self.event.get(at).ok_or("column event: null, or none of its words");
            match kind.and_then(|kind| Ok((kind, self.mono_ns.get(at).ok_or("column mono_ns: null")?))) {
                Ok((kind, mono_ns)) => {
                    rows.push(Row::new(kind, mono_ns.saturating_add_signed(self.moved.shift)));
                }
                Err(why) => {
                    done = Err(why.to_owned());
                    break;
                }
            }
        }
        let added = &mut rows[known..];
        self.fill_socket(from, added);
        self.owners.fill(from, added);
        self.fill_outcome(from, added);
        done
    }

    fn fill_socket(&self, from: usize, rows: &mut [Row]) {
        self.netns.fill(from, rows, |row, netns| row.netns = netns);
        self.saddr.fill(from, rows, |row, saddr| row.saddr = saddr);
        self.daddr.fill(from, rows, |row, daddr| row.daddr = daddr);
        self.sport.fill(from, rows, |row, sport| row.sport = sport);
        self.dport.fill(from, rows, |row, dport| row.dport = dport);
        self.role.fill(from, rows, |row, role| row.role = role);
        self.substate.fill(from, rows, |row, substate| row.substate = Some(substate));
        self.timeout_ms.fill(from, rows, |row, timeout_ms| row.timeout_ms = timeout_ms);
        self.via.fill(from, rows, |row, via| row.via = Some(via));
        self.port_via.fill(from, rows, |row, via| row.port_via = Some(via));
    }

    fn fill_outcome(&self, from: usize, rows: &mut [Row]) {
        self.age_ms.fill(from, rows, |row, ms| row.age_us = Some(ms.saturating_mul(1000)));
        self.age_rest_ns.fill(from, rows, |row, ns| {
            row.age_us = row.age_us.map(|age_us| age_us.saturating_add(u64::from(ns / 1000)));
        });
        self.sent.fill(from, rows, |row, sent| row.sent = Some(sent));
        self.received.fill(from, rows, |row, received| row.received = Some(received));
        self.reason.fill(from, rows, |row, reason| row.reason = Some(reason));
        self.errno.fill(from, rows, |row, errno| row.errno = Some(errno));
        self.reuseaddr.fill(from, rows, |row, reuseaddr| row.reuseaddr = Some(reuseaddr));
        self.why.fill(from, rows, |row, why| row.why = Some(why));
        self.lifetime_ms.fill(from, rows, |row, lifetime_ms| row.lifetime_ms = Some(lifetime_ms));
        let [low, high] = &self.range;
        if low.is_some() && high.is_some() {
            let failures = (from..)
                .zip(rows)
                .filter(|(_, row)| matches!(row.kind, Kind::ConnectFailed | Kind::BindFailed));
            failures.for_each(|(at, row)| row.own_range = low.get(at).zip(high.get(at)));
        }
    }

    fn loss(&self, row: usize) -> Loss {
        let part = |at: usize| self.lost.get(at).and_then(|column| column.get(row)).unwrap_or(0);
        Loss::from_parts(std::array::from_fn(part)).of_events(self.count.get(row).unwrap_or(0))
    }
}
