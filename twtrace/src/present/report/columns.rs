//! Owns: taking the columns that are counted out of a recording's batches, without making events of them.
//! Must not know: what is counted, files.
//!
//! Each text and each address of a dictionary is looked up once; rows are then numbers. So an event costs a tenth of what it costs to make
//! an `Event` of it.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int32Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array as _, ArrayRef, PrimitiveArray, RecordBatch, StringArray};

use super::count::Counting;
use super::namings::Namings;
use crate::engine::Engine;
use crate::engine::intern::NONE;
use crate::engine::row::{Owner, Row};
use crate::model::escape::printable;
use crate::model::event::{AbortWhy, Errno, Kind, Loss, PortVia, Reason, Role, Substate, Via};
use crate::recording::Known;

/// A column of numbers; `None` where all is null.
struct Numbers<T: ArrowPrimitiveType>(Option<PrimitiveArray<T>>);

impl<T: ArrowPrimitiveType> Numbers<T> {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self, String> {
        let Some(column) = batch.column_by_name(name) else { return Ok(Self(None)) };
        let column = column.as_primitive_opt::<T>().ok_or_else(|| wrong(name, column))?;
        Ok(Self(told(column)))
    }

    #[inline]
    fn get(&self, row: usize) -> Option<T::Native> {
        let column = self.0.as_ref()?;
        column.is_valid(row).then(|| column.value(row))
    }
}

/// The column, unless it says nothing: most columns of most batches do not, and every row asks them all.
fn told<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>) -> Option<PrimitiveArray<T>> {
    (column.null_count() < column.len()).then(|| column.clone())
}

fn wrong(name: &str, column: &ArrayRef) -> String {
    format!("column {name} is a {}", column.data_type())
}

/// A column of words known beforehand.
struct Words<T> {
    keys: Option<PrimitiveArray<Int8Type>>,
    values: Vec<T>,
}

impl<T: Copy + FromStr<Err: std::fmt::Display>> Words<T> {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self, String> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(Self { keys: None, values: Vec::new() });
        };
        let words = column.as_dictionary_opt::<Int8Type>().ok_or_else(|| wrong(name, column))?;
        let values = texts(name, words.values())?
            .iter()
            .map(|word| word.unwrap_or_default().parse::<T>().map_err(|why| format!("column {name}: {why}")));
        Ok(Self { values: values.collect::<Result<_, _>>()?, keys: told(words.keys()) })
    }

    #[inline]
    fn get(&self, row: usize) -> Option<T> {
        let keys = self.keys.as_ref().filter(|keys| keys.is_valid(row))?;
        self.values.get(keys.value(row) as usize).copied()
    }
}

fn texts<'a>(name: &str, values: &'a ArrayRef) -> Result<&'a StringArray, String> {
    values.as_string_opt().ok_or_else(|| wrong(name, values))
}

/// A column of texts or addresses, as numbers.
struct Texts {
    keys: Option<PrimitiveArray<Int32Type>>,
    numbers: Arc<Vec<u32>>,
}

impl Texts {
    /// [`NONE`] where there is none.
    #[inline]
    fn get(&self, row: usize) -> u32 {
        let Some(keys) = self.keys.as_ref().filter(|keys| keys.is_valid(row)) else { return NONE };
        self.numbers.get(keys.value(row) as usize).copied().unwrap_or(NONE)
    }
}

/// The numbers of a column's texts.
fn column(
    known: &mut Known<u32>,
    batch: &RecordBatch,
    name: &str,
    number: impl FnMut(&str) -> Result<u32, String>,
) -> Result<Texts, String> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(Texts { keys: None, numbers: Arc::default() });
    };
    let dictionary = column.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong(name, column))?;
    let numbers = known.of(dictionary.values(), number).map_err(|why| format!("column {name}: {why}"))?;
    Ok(Texts { keys: told(dictionary.keys()), numbers })
}

/// Takes batches in.
#[derive(Debug, Default)]
pub(super) struct Reader {
    saddr: Known<u32>,
    daddr: Known<u32>,
    comm: Known<u32>,
    exe: Known<u32>,
    cgroup: Known<u32>,
    container: Known<u32>,
    names: [Known<u32>; NAMES.len()],
    /// Is added to every time.
    shift: i64,
    /// What is listed at this time is known: it is passed over.
    known_ns: Option<u64>,
    skipped: u64,
}

/// The columns that are looked at only where there is an owner.
struct Owners {
    pid: Numbers<UInt32Type>,
    uid: Numbers<UInt32Type>,
    start_ns: Numbers<UInt64Type>,
    comm: Texts,
    exe: Texts,
    cgroup: Texts,
    container: Texts,
    /// In the order of [`NAMES`].
    names: [Texts; NAMES.len()],
}

impl Owners {
    #[inline]
    fn get(&self, row: usize) -> Option<Owner> {
        Some(Owner {
            pid: self.pid.get(row)?,
            start: self.start_ns.get(row).unwrap_or(0),
            comm: self.comm.get(row),
            uid: self.uid.get(row).unwrap_or(0),
            cgroup: self.cgroup.get(row),
            container: self.container.get(row),
        })
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
struct Columns {
    event: Words<Kind>,
    mono_ns: Numbers<UInt64Type>,
    netns: Numbers<UInt32Type>,
    saddr: Texts,
    daddr: Texts,
    sport: Numbers<UInt16Type>,
    dport: Numbers<UInt16Type>,
    role: Words<Role>,
    substate: Words<Substate>,
    timeout_ms: Numbers<UInt32Type>,
    owners: Owners,
    via: Words<Via>,
    age_ms: Numbers<UInt64Type>,
    age_rest_ns: Numbers<UInt32Type>,
    sent: Numbers<UInt64Type>,
    received: Numbers<UInt64Type>,
    reason: Words<Reason>,
    errno: Words<Errno>,
    port_via: Words<PortVia>,
    reuseaddr: Words<bool>,
    range: [Numbers<UInt16Type>; 2],
    why: Words<AbortWhy>,
    lifetime_ms: Numbers<UInt64Type>,
    lost: [Numbers<UInt64Type>; LOST.len()],
}

/// What a container is called, in the order of [`Called`](super::namings::Called).
const NAMES: [&str; 4] = ["container_name", "image", "pod", "pod_namespace"];

/// Every column that is looked at, besides [`NAMES`] and [`LOST`].
const COLUMNS: [&str; 30] = [
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
];

/// What a `lost` event is made of, in the order of [`loss`].
const LOST: [&str; 10] = [
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

/// The names of all columns that are looked at.
pub(super) fn wanted() -> Vec<&'static str> {
    // The calendar's time is what the reader checks the clock's with.
    COLUMNS.into_iter().chain(NAMES).chain(LOST).chain(["time"]).collect()
}

impl Reader {
    /// `shift` is added to every time; what is listed at `known_ns` is known already.
    pub(super) fn new(shift: i64, known_ns: Option<u64>) -> Self {
        Self { shift, known_ns, ..Self::default() }
    }

    /// How many rows were passed over.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Counts a batch in.
    ///
    /// # Errors
    /// In words for a user, where the batch holds what no recording holds; rows before that were counted.
    pub(super) fn take(&mut self, batch: &RecordBatch, counting: &mut Counting) -> Result<(), String> {
        let columns = self.columns(batch, &mut counting.engine)?;
        for row in 0..batch.num_rows() {
            let kind = columns.event.get(row).ok_or("column event: null, or none of its words")?;
            let mono_ns = columns.mono_ns.get(row).ok_or("column mono_ns: null")?;
            if kind == Kind::Listed && self.known_ns == Some(mono_ns) {
                self.skipped += 1;
                continue;
            }
            let mono_ns = mono_ns.saturating_add_signed(self.shift);
            if kind == Kind::Lost {
                counting.lose(mono_ns, &columns.loss(row));
            } else {
                let counted = columns.row(row, kind, mono_ns);
                columns.owners.name(row, counted.owner.as_ref(), &mut counting.namings);
                counting.take(&counted);
            }
        }
        Ok(())
    }

    fn columns(&mut self, batch: &RecordBatch, engine: &mut Engine) -> Result<Columns, String> {
        let Engine { texts, addresses, .. } = engine;
        let mut text = |text: &str| Ok(texts.id_of(text, text.len()));
        let mut address = |text: &str| {
            let address: IpAddr = text.parse().map_err(|_| format!("'{}' is no address", printable(text)))?;
            Ok(addresses.id(&address))
        };
        let [name, image, pod, namespace] = &mut self.names;
        let owners = Owners {
            pid: Numbers::of(batch, "pid")?,
            uid: Numbers::of(batch, "uid")?,
            start_ns: Numbers::of(batch, "start_ns")?,
            comm: column(&mut self.comm, batch, "comm", &mut text)?,
            exe: column(&mut self.exe, batch, "exe", &mut text)?,
            cgroup: column(&mut self.cgroup, batch, "cgroup", &mut text)?,
            container: column(&mut self.container, batch, "container", &mut text)?,
            names: [
                column(name, batch, NAMES[0], &mut text)?,
                column(image, batch, NAMES[1], &mut text)?,
                column(pod, batch, NAMES[2], &mut text)?,
                column(namespace, batch, NAMES[3], &mut text)?,
            ],
        };
        let [one, two, three, four, five, six, seven, eight, nine, ten] =
            LOST.map(|name| Numbers::of(batch, name));
        Ok(Columns {
            event: Words::of(batch, "event")?,
            mono_ns: Numbers::of(batch, "mono_ns")?,
            netns: Numbers::of(batch, "netns")?,
            saddr: column(&mut self.saddr, batch, "saddr", &mut address)?,
            daddr: column(&mut self.daddr, batch, "daddr", &mut address)?,
            sport: Numbers::of(batch, "sport")?,
            dport: Numbers::of(batch, "dport")?,
            role: Words::of(batch, "role")?,
            substate: Words::of(batch, "substate")?,
            timeout_ms: Numbers::of(batch, "timeout_ms")?,
            owners,
            via: Words::of(batch, "owner_via")?,
            age_ms: Numbers::of(batch, "age_ms")?,
            age_rest_ns: Numbers::of(batch, "age_rest_ns")?,
            sent: Numbers::of(batch, "bytes_sent")?,
            received: Numbers::of(batch, "bytes_received")?,
            reason: Words::of(batch, "reason")?,
            errno: Words::of(batch, "errno")?,
            port_via: Words::of(batch, "port_via")?,
            reuseaddr: Words::of(batch, "reuseaddr")?,
            range: [Numbers::of(batch, "range_low")?, Numbers::of(batch, "range_high")?],
            why: Words::of(batch, "why")?,
            lifetime_ms: Numbers::of(batch, "lifetime_ms")?,
            lost: [one?, two?, three?, four?, five?, six?, seven?, eight?, nine?, ten?],
        })
    }
}

impl Columns {
    #[inline]
    fn row(&self, row: usize, kind: Kind, mono_ns: u64) -> Row {
        let rest_us = u64::from(self.age_rest_ns.get(row).unwrap_or(0) / 1000);
        Row {
            kind,
            mono_ns,
            netns: self.netns.get(row).unwrap_or(0),
            saddr: self.saddr.get(row),
            daddr: self.daddr.get(row),
            sport: self.sport.get(row).unwrap_or(0),
            dport: self.dport.get(row).unwrap_or(0),
            role: self.role.get(row).unwrap_or_default(),
            substate: self.substate.get(row),
            timeout_ms: self.timeout_ms.get(row).unwrap_or(0),
            owner: self.owners.get(row),
            exe: self.owners.exe.get(row),
            via: self.via.get(row),
            age_us: self.age_ms.get(row).map(|ms| ms.saturating_mul(1000).saturating_add(rest_us)),
            sent: self.sent.get(row),
            received: self.received.get(row),
            reason: self.reason.get(row),
            errno: self.errno.get(row),
            port_via: self.port_via.get(row),
            reuseaddr: self.reuseaddr.get(row),
            own_range: self.own_range(row, kind),
            why: self.why.get(row),
            lifetime_ms: self.lifetime_ms.get(row),
        }
    }

    #[inline]
    fn own_range(&self, row: usize, kind: Kind) -> Option<(u16, u16)> {
        let [low, high] = &self.range;
        let is_failure = matches!(kind, Kind::ConnectFailed | Kind::BindFailed);
        is_failure.then(|| low.get(row).zip(high.get(row)))?
    }

    fn loss(&self, row: usize) -> Loss {
        let part = |at: usize| self.lost[at].get(row).unwrap_or(0);
        Loss {
            created: part(0),
            ended: part(1),
            overflow: part(2),
            connect_failed: part(3),
            bind_failed: part(4),
            owners: part(5),
            missed_runs: part(6),
            missed: part(7),
            unwritten: 0,
            aborted: part(8),
            syn_refused: part(9),
        }
    }
}
