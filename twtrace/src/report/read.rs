//! Owns: reading a recording from its first batch to its end, and making the report of it.
//! Must not know: how rows are counted, how a report is shown.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;

use arrow_array::RecordBatch;

use super::build::Builder;
use super::columns::{Reader, wanted};
use super::facts;
use super::fold::timeline::MOST_ASKED;
use super::fold::{Fold, Limits, Row};
use super::model::{By, Folded, Reached, Report};
use crate::doctor::facts::Facts;
use crate::doctor::one_liners;
use crate::doctor::replay::Told;
use crate::event::{Kind, Via};
use crate::filter::Filter;
use crate::live::capacity;
use crate::net::sysctls::Sysctls;
use crate::recording::{Ended, Head, Namespace, Recording};
use crate::tracker::{Capacity, Seed};

/// Batches that are unpacked while others are counted.
const AHEAD: usize = 2;

/// What is wanted of a recording.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to call the recording.
    pub file: String,
    /// Which events count.
    pub filter: Filter,
    /// The same, as it was given.
    pub filters: Vec<String>,
    /// Which tables.
    pub by: Vec<By>,
    /// Width of the timeline's stretches in nanoseconds; `None` leaves it to the length of the recording.
    pub every_ns: Option<u64>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The timeline would have too many stretches.
    #[error("--every {every_s} s makes more than {MOST_ASKED} lines of this recording: give a longer time")]
    TooFine {
        /// What was asked for, in seconds.
        every_s: f64,
    },
    /// No second thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A batch, and the namespaces that were met before it.
struct Load {
    batch: RecordBatch,
    met: Vec<Namespace>,
}

/// Reads a recording to its end. A recording that breaks off is no error: the report says so.
///
/// # Errors
/// See [`Error`].
pub fn read(recording: Recording, options: &Options) -> Result<Report, Error> {
    let counted = Counted::of(recording, options)?;
    let builder = counted.builder();
    // A pool counts whole for the doctor, whoever is asked about.
    let findings = options.filter.is_empty().then(|| one_liners(&counted.facts(&builder)));
    let ((comms, names), timeline, total) = (builder.comms(), builder.timeline(), builder.total());
    let mut folded =
        Folded { events: builder.folded_events(), texts: counted.refused(), names, rows: Vec::new() };
    let mut tables = Vec::new();
    for by in &options.by {
        let (rows, more) = builder.table(*by);
        tables.push((*by, rows));
        if more != 0 {
            folded.rows.push((*by, more));
        }
    }
    let Counted { fold, head, met, ended, ended_ns } = counted;
    let (population, busiest) = (fold.population, fold.busiest);
    Ok(Report {
        file: options.file.clone(),
        clock: head.clock(),
        missing: match &ended {
            Ended::Missing { why } => Some(why.clone()),
            Ended::Complete(_) | Ended::Damaged { .. } => None,
        },
        damaged: match &ended {
            Ended::Damaged { why, .. } => Some(why.clone()),
            Ended::Complete(_) | Ended::Missing { .. } => None,
        },
        filters: options.filters.clone(),
        ended_ns,
        passed: fold.events,
        total,
        listed: population.listed,
        busiest: Reached {
            value: busiest.most,
            at_ns: head.mono_ns.saturating_add(busiest.most_second.saturating_mul(1_000_000_000)),
        },
        peak_live: Reached { value: population.most, at_ns: population.most_at_ns },
        lost: fold.loss(),
        findings,
        comms,
        folded,
        tables,
        timeline,
        met,
        head,
        tail: ended.tail().cloned(),
    })
}

/// A recording that was read to its end.
pub(super) struct Counted {
    fold: Fold,
    head: Head,
    met: Vec<Namespace>,
    ended: Ended,
    ended_ns: u64,
}

impl Counted {
    /// # Errors
    /// See [`Error`].
    pub(super) fn of(recording: Recording, options: &Options) -> Result<Self, Error> {
        let head = recording.head().clone();
        let mut fold = Fold::new(head.mono_ns, options.every_ns, options.filter.clone(), &Limits::default());
        head.namespaces.iter().for_each(|namespace| allow(namespace, &mut fold));
        for seed in recording.seeds() {
            let row = seeded(seed, head.mono_ns, &mut fold);
            fold.seed(&row);
        }
        let Read { ended, met } = count(recording, &mut fold)?;
        let ended_ns = ended.tail().map_or(fold.last_ns, |tail| tail.mono_ns).max(fold.last_ns);
        fold.close(ended_ns);
        if fold.timeline.is_full() {
            return Err(Error::TooFine { every_s: options.every_ns.unwrap_or(0) as f64 / 1e9 });
        }
        Ok(Self { fold, head, met, ended, ended_ns })
    }

    /// Texts and addresses that there was no room for.
    fn refused(&self) -> u64 {
        self.fold.texts.refused() + self.fold.addresses.refused()
    }

    pub(super) fn builder(&self) -> Builder<'_> {
        let told = || {
            let last = self.ended.tail().into_iter().flat_map(|tail| &tail.namespaces);
            self.head.namespaces.iter().chain(&self.met).chain(last)
        };
        let names = told().filter_map(|namespace| Some((namespace.netns, namespace.name.clone()?))).collect();
        Builder::new(&self.fold, names, ports(&self.fold, told()))
    }

    /// What the doctor's rules look at.
    pub(super) fn facts(&self, builder: &Builder<'_>) -> Facts {
        let Self { fold, head, met, ended, ended_ns } = self;
        let lost = fold.loss().events();
        let told = Told { head, met, ended, last_ns: *ended_ns, lost, tally: &fold.tally };
        told.complete(facts::namespaces(builder, &fold.tally))
    }
}

/// What is only known once all was read.
struct Read {
    ended: Ended,
    met: Vec<Namespace>,
}

/// Unpacks batches on a thread of its own and counts them on this one.
fn count(mut recording: Recording, fold: &mut Fold) -> Result<Read, Error> {
    let (send, loads) = sync_channel::<Load>(AHEAD);
    recording.only(&wanted());
    let unpack = move || {
        let mut known = 0;
        while let Some(batch) = recording.next_batch() {
            let met = recording.met()[known..].to_vec();
            known += met.len();
            // Nobody takes it any more: what it held cannot be counted.
            if send.send(Load { batch, met }).is_err() {
                break;
            }
        }
        recording
    };
    let thread =
        std::thread::Builder::new().name("unpack".to_owned()).spawn(unpack).map_err(Error::Thread)?;
    let mut reader = Reader::default();
    let mut broken = None;
    for Load { batch, met } in &loads {
        met.iter().for_each(|namespace| allow(namespace, fold));
        if let Err(why) = reader.take(&batch, fold) {
            broken = Some(why);
            break;
        }
    }
    drop(loads);
    let recording = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let met = recording.met().to_vec();
    let ended = match broken {
        Some(why) => Ended::Missing { why },
        None => recording.end(),
    };
    Ok(Read { ended, met })
}

fn capacity_of(namespace: &Namespace) -> Option<Capacity> {
    let settings = namespace.sysctls.as_ref()?;
    Sysctls::try_from(settings).ok().map(|sysctls| capacity(&sysctls))
}

/// Says what a namespace allows, where that is known and was not said before.
fn allow(namespace: &Namespace, fold: &mut Fold) {
    let is_counted = fold.ports.capacity(namespace.netns).is_some();
    if let Some(capacity) = capacity_of(namespace).filter(|_| !is_counted) {
        fold.ports.allow(namespace.netns, capacity);
    }
}

/// How many ports each namespace allows. Where its sockets came before it was known which ports those are, they were counted by the
/// kernel's default range: that holds if it turned out to be the right one.
fn ports<'a>(fold: &Fold, told: impl Iterator<Item = &'a Namespace>) -> HashMap<u32, u32> {
    let mut ports = HashMap::new();
    for namespace in told {
        let counted_by = fold.ports.capacity(namespace.netns);
        let Some(((counted_by, is_told), capacity)) = counted_by.zip(capacity_of(namespace)) else {
            continue;
        };
        let same = (&counted_by.range, &counted_by.reserved) == (&capacity.range, &capacity.reserved);
        if is_told || same {
            ports.entry(namespace.netns).or_insert(counted_by.ports);
        }
    }
    ports
}

/// A socket that was there before.
fn seeded(seed: &Seed, mono_ns: u64, fold: &mut Fold) -> Row {
    let Seed { conn, role, substate, .. } = seed;
    Row {
        kind: Kind::Listed,
        mono_ns,
        netns: conn.netns,
        saddr: fold.addresses.id(&conn.saddr),
        daddr: fold.addresses.id(&conn.daddr),
        sport: conn.sport,
        dport: conn.dport,
        role: *role,
        substate: Some(*substate),
        owner: None,
        exe: 0,
        via: Some(Via::None),
        age_us: None,
        sent: None,
        received: None,
        reason: None,
        errno: None,
        port_via: None,
        why: None,
        lifetime_ms: None,
    }
}
