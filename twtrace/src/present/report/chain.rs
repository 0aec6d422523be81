//! Owns: the recordings of one machine between two boots, counted one after the other as what they are: one trace, or several.
//! Must not know: other machines, how a report is shown.
//!
//! The files of a rotated recording are one trace: each begins with what lives, which the one before has told already. What lives at the end
//! of a recording that none goes on from is let go of: nobody knows what became of it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::Error;
use super::build::Builder;
use super::columns::Reader;
use super::count::{CountOptions, Counting};
use super::stages::{self, allow, capacity_of};
use crate::diagnose::facts::Facts;
use crate::diagnose::facts::together::Together;
use crate::diagnose::recorded::{Recorded, settings_of};
use crate::engine::row;
use crate::engine::{Engine, Limits, Seed};
use crate::model::event::{Kind, Via};
use crate::model::filter::Filter;
use crate::recording::{Ended, Head, Namespace, OpenError, Recording, Stop, Tail};

/// Opens a recording: many are not kept open at once.
type OpenRecording = Box<dyn FnOnce() -> Result<Recording, OpenError>>;

/// One recording, which is opened once it is its turn.
pub struct Part {
    /// What to call it: its file. Hostile until escaped.
    pub name: PathBuf,
    /// What it says of itself at its start.
    pub head: Head,
    open: OpenRecording,
}

impl Part {
    /// A recording of which the head was read; `open` opens it again.
    pub fn new(
        name: PathBuf,
        head: Head,
        open: impl FnOnce() -> Result<Recording, OpenError> + 'static,
    ) -> Self {
        Self { name, head, open: Box::new(open) }
    }

    /// One that is open.
    pub fn opened(name: PathBuf, recording: Recording) -> Self {
        Self { name, head: recording.head().clone(), open: Box::new(move || Ok(recording)) }
    }

    /// The recording, from its start.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(self) -> Result<Recording, OpenError> {
        (self.open)()
    }
}

/// By how much times are moved, so that those of several machines can be compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Where the timeline begins, in nanoseconds since 1970.
    pub(super) origin_ns: u64,
}

impl Axis {
    /// What is to be added to CLOCK_MONOTONIC of a recording with this head for nanoseconds since 1970.
    fn shift(axis: Option<Self>, head: &Head) -> i64 {
        axis.map_or(0, |_| head.wall_ns.saturating_sub_unsigned(head.mono_ns))
    }

    /// When a recording begins, in nanoseconds since 1970.
    pub(super) fn began_ns(head: &Head) -> u64 {
        head.mono_ns.saturating_add_signed(head.wall_ns.saturating_sub_unsigned(head.mono_ns))
    }
}

/// Recordings that were read to their end.
pub(super) struct Counted {
    pub(super) counting: Counting,
    /// Of the first.
    pub(super) head: Head,
    pub(super) met: Vec<Namespace>,
    /// Of the last.
    pub(super) ended: Ended,
    pub(super) ended_ns: u64,
    /// In words for a user: what is not there of those before the last.
    pub(super) troubles: Vec<String>,
    /// When something was recorded, in order.
    pub(super) covered: Vec<(u64, u64)>,
    /// What the lists of all of them showed.
    seen: Together,
    /// TIME_WAIT sockets that lived when a recording ended that none goes on from, those of the last left out.
    pub(super) left: u64,
}

/// The recording before another one.
struct Before {
    name: PathBuf,
    part: u64,
    ended: Ended,
    ended_ns: u64,
    /// Rows in this file and those that it goes on from, what lived at the beginning of each but the first left out.
    rows: u64,
}

impl Before {
    /// Whether a recording goes on from where this one ends.
    fn goes_on_in(&self, head: &Head) -> bool {
        let is_rotated = self.ended.tail().is_some_and(|tail| tail.stop == Stop::Rotated);
        is_rotated && head.part == self.part + 1
    }
}

impl Counted {
    /// Counts the recordings of one machine between two boots, which are in the order of their beginnings; at least one.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn of(parts: Vec<Part>, asked: &CountOptions, axis: Option<Axis>) -> Result<Self, Error> {
        let Some(first) = parts.first() else { return Err(Error::Nothing) };
        let shift = Axis::shift(axis, &first.head);
        let moved = |ns: u64| ns.saturating_add_signed(shift);
        let mut head = first.head.clone();
        head.mono_ns = moved(head.mono_ns);
        let mut counting = Counting::new(head.mono_ns, asked, Limits::RECORDING);
        let (mut met, mut troubles, mut covered) = (Vec::new(), Vec::new(), Vec::<(u64, u64)>::new());
        let (mut left, mut before, mut seen) = (0, None::<Before>, Together::default());
        for Part { name, head: own, open } in parts {
            let began_ns = moved(own.mono_ns);
            let goes_on = before.as_ref().is_some_and(|before| before.goes_on_in(&own));
            if let Some(before) = before.as_ref().filter(|_| !goes_on) {
                if began_ns < before.ended_ns {
                    return Err(Error::overlap(&before.name, &name));
                }
                left += counting.let_go();
            }
            if let Some(before) = &before {
                troubles
                    .extend(before.ended.trouble().map(|why| format!("{}: {why}", before.name.display())));
            }
            let turn = Turn { shift, known_ns: goes_on.then_some(own.mono_ns) };
            let met_before = met.len();
            let read = turn.read(open()?, &mut counting, &mut met, &head)?;
            let Read { mut ended, skipped } = read;
            let tail = ended.tail();
            let at_end = tail.into_iter().flat_map(|tail| &tail.namespaces);
            let told = own.namespaces.iter().chain(&met[met_before..]).chain(at_end);
            let settings = told.filter_map(|one| Some((one.netns, settings_of(one)?)));
            seen.take(tail.and_then(|tail| tail.lists.as_ref()), settings);
            let last_ns = counting.last_ns;
            let ended_ns = ended.tail().map_or(last_ns, |tail| moved(tail.mono_ns)).max(last_ns);
            counting.close(ended_ns);
            match covered.last_mut().filter(|_| goes_on) {
                Some((_, to)) => *to = ended_ns,
                None => covered.push((began_ns, ended_ns)),
            }
            let earlier = before.take().filter(|_| goes_on).map_or(0, |before| before.rows);
            let rows = join(&mut ended, shift, earlier, skipped);
            before = Some(Before { name, part: own.part, ended, ended_ns, rows });
        }
        if counting.timeline.is_full() {
            return Err(Error::TooFine { every_s: asked.every_ns.unwrap_or(0) as f64 / 1e9 });
        }
        let Some(Before { ended, ended_ns, .. }) = before else { return Err(Error::Nothing) };
        Ok(Self { counting, head, met, ended, ended_ns, troubles, covered, seen, left })
    }

    /// All of a recording, as the doctor looks at it; the events that pass a filter are only counted.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn whole(recording: Recording, looked_at: Filter) -> Result<Self, Error> {
        let asked = CountOptions { looked_at: Some(looked_at), ..CountOptions::default() };
        Self::of(vec![Part::opened(PathBuf::new(), recording)], &asked, None)
    }

    pub(super) fn builder(&self) -> Builder<'_> {
        let told = || {
            let last = self.ended.tail().into_iter().flat_map(|tail| &tail.namespaces);
            self.head.namespaces.iter().chain(&self.met).chain(last)
        };
        let names = told().filter_map(|namespace| Some((namespace.netns, namespace.name.clone()?))).collect();
        Builder::new(&self.counting, names, ports(&self.counting.engine, told()))
    }

    /// What the doctor's rules look at.
    pub(super) fn facts(&self) -> Facts {
        let Self { counting, head, met, ended, covered, seen, .. } = self;
        let observed_ns = covered.iter().map(|(from, to)| to.saturating_sub(*from)).sum();
        Recorded { head, met, ended, observed_ns, seen, engine: &counting.engine }.facts()
    }
}

/// Makes a tail that of all the files that it is the end of, in moved time; returns how many rows those have.
fn join(ended: &mut Ended, shift: i64, earlier: u64, skipped: u64) -> u64 {
    let tail: Option<&mut Tail> = match ended {
        Ended::Complete(tail) => Some(tail),
        Ended::Damaged { tail, .. } => tail.as_deref_mut(),
        Ended::Missing { .. } => None,
    };
    let Some(tail) = tail else { return earlier };
    tail.mono_ns = tail.mono_ns.saturating_add_signed(shift);
    tail.events = earlier.saturating_add(tail.events).saturating_sub(skipped);
    tail.events
}

/// What is only known once all was read.
struct Read {
    ended: Ended,
    /// Rows of what was told already.
    skipped: u64,
}

/// How one recording is read.
struct Turn {
    /// As for [`Axis::shift`].
    shift: i64,
    /// What is listed at this time is known from the recording before.
    known_ns: Option<u64>,
}

impl Turn {
    fn read(
        &self,
        recording: Recording,
        counting: &mut Counting,
        met: &mut Vec<Namespace>,
        first: &Head,
    ) -> Result<Read, Error> {
        let head = recording.head().clone();
        head.namespaces.iter().for_each(|namespace| allow(namespace, counting));
        // What the first head says stands in the report already.
        let mut known: HashSet<u32> =
            first.namespaces.iter().chain(met.iter()).map(|namespace| namespace.netns).collect();
        met.extend(head.namespaces.iter().filter(|one| known.insert(one.netns)).cloned());
        if self.known_ns.is_none() {
            for seed in recording.seeds() {
                let row = seeded(seed, head.mono_ns.saturating_add_signed(self.shift), counting);
                counting.seed(&row);
            }
        }
        let mut reader = Reader::new(self.shift, self.known_ns);
        let (ended, more) = stages::count(recording, &mut reader, counting)?;
        met.extend(more);
        Ok(Read { ended, skipped: reader.skipped() })
    }
}

/// How many ports each namespace allows. Where its sockets came before it was known which ports those are, they were counted by the
/// kernel's default range: that holds if it turned out to be the right one.
fn ports<'a>(engine: &Engine, told: impl Iterator<Item = &'a Namespace>) -> HashMap<u32, u32> {
    let mut ports = HashMap::new();
    for namespace in told {
        let counted_by = engine.pools.capacity(namespace.netns);
        let Some(((counted_by, is_told), capacity)) = counted_by.zip(capacity_of(namespace)) else {
            continue;
        };
        let (one, two) = (&counted_by.settings, &capacity.settings);
        let same = (one.port_range, &one.reserved) == (two.port_range, &two.reserved);
        if is_told || same {
            ports.entry(namespace.netns).or_insert(counted_by.ports());
        }
    }
    ports
}

/// A socket that was there before.
fn seeded(seed: &Seed, mono_ns: u64, counting: &mut Counting) -> row::Row {
    let Seed { conn, role, substate, .. } = seed;
    row::Row {
        netns: conn.netns,
        saddr: counting.engine.address_id(conn.saddr),
        daddr: counting.peer_id(&conn.daddr),
        sport: conn.sport,
        dport: conn.dport,
        role: *role,
        substate: Some(*substate),
        via: Some(Via::None),
        ..row::Row::new(Kind::Listed, mono_ns)
    }
}
