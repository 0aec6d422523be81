//! Owns: reading a recording from its first batch to its end, and making the report of it.
//! Must not know: how rows are counted, how a report is shown.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::sync_channel;

use arrow_array::RecordBatch;

use super::build::Builder;
use super::columns::{Reader, wanted};
use super::count::{Asked, Counting};
use super::model::{By, Folded, Name, Reached, Report, Row};
use super::timeline::MOST_ASKED;
use crate::diagnose::facts::{Facts, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::recorded::Recorded;
use crate::diagnose::{found, scope};
use crate::engine::row;
use crate::engine::{Capacity, Engine, Limits, Seed, Target};
use crate::host::net::sysctls::Sysctls;
use crate::model::event::{Kind, Via};
use crate::model::filter::{Failures, Filter};
use crate::recording::{Ended, Head, Namespace, Recording};
use crate::source::capacity;

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
    let asked = Asked { filter: options.filter.clone(), looked_at: None, every_ns: options.every_ns };
    let counted = Counted::of(recording, &asked)?;
    let builder = counted.builder();
    // A pool counts whole for the doctor, whoever is asked about.
    let findings = options.filter.is_empty().then(|| found(&counted.facts()));
    let ((comms, names), timeline, total) = (builder.comms(), builder.timeline(), builder.total());
    let (engine, fullest) = (&counted.counting.engine, builder.fullest());
    let mut folded = Folded { events: engine.folded(), texts: engine.refused(), names, rows: Vec::new() };
    let mut tables = Vec::new();
    for by in &options.by {
        let (mut rows, more) = builder.table(*by);
        if *by == By::Process {
            worst_first(&mut rows, findings.as_deref().unwrap_or_default());
        }
        tables.push((*by, rows));
        if more != 0 {
            folded.rows.push((*by, more));
        }
    }
    let Counted { counting, head, met, ended, ended_ns } = counted;
    let (population, busiest) = (counting.population, counting.busiest);
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
        passed: counting.events,
        total,
        fullest,
        listed: population.listed,
        busiest: Reached {
            value: busiest.most,
            at_ns: head.mono_ns.saturating_add(busiest.most_second.saturating_mul(1_000_000_000)),
        },
        peak_live: Reached { value: population.most, at_ns: population.most_at_ns },
        lost: counting.engine.loss,
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

/// Says of each process how bad it is that it has a part in, and puts those first that press: by that, then those that failed.
fn worst_first(rows: &mut [Row], findings: &[Finding]) {
    for row in rows.iter_mut() {
        let Name::Process { pid, comm, .. } = &row.name else { continue };
        let is_it = |share: &Share| share.process.pid == Some(*pid) && share.process.comm == *comm;
        let bad = findings.iter().filter(|finding| finding.severity <= Severity::Warning);
        // Findings are worst first.
        row.severity =
            bad.filter(|finding| finding.who.iter().any(is_it)).map(|finding| finding.severity).next();
    }
    rows.sort_by_key(|row| {
        let severity = row.severity.unwrap_or(Severity::Fine);
        (row.name == Name::Others, severity, row.figures.failed() == 0)
    });
}

/// What the doctor's rules look at, of a whole recording and kept to what a filter is about; and how many of its events pass, whatever
/// the role, `lost` and `listed` left out.
///
/// # Errors
/// See [`Error`].
pub fn facts(recording: Recording, filter: &Filter, nat_ports: Option<u32>) -> Result<(Facts, u64), Error> {
    // A failure has no role: which roles are wanted decides what is spoken of.
    let looked_at = Filter { roles: Vec::new(), failures: Failures::All, ..filter.clone() };
    let counted = Counted::whole(recording, looked_at)?;
    let mut facts = Facts { nat_ports, ..counted.facts() };
    scope::keep(&mut facts, filter);
    keep_theirs(&mut facts, &counted.counting);
    Ok((facts, counted.counting.events))
}

/// Leaves the pools and ports that somebody whom the filter lets pass has to do with. They count whole, whoever else does.
fn keep_theirs(facts: &mut Facts, counting: &Counting) {
    // A failed connect() may not have come as far as to have a source address.
    let anywhere = |target: Target| match target {
        Target::Tuple(key) => (key.netns, Some(key.daddr), key.dport),
        Target::Port(key) => (key.netns, None, key.sport),
    };
    let theirs: HashSet<_> = counting.passing_targets().map(anywhere).collect();
    for netns in &mut facts.namespaces {
        let inode = netns.netns;
        netns.tuples.retain(|tuple| theirs.contains(&(inode, Some(tuple.daddr), tuple.dport)));
        netns.served.retain(|served| theirs.contains(&(inode, None, served.port)));
    }
}

/// A recording that was read to its end.
pub(super) struct Counted {
    counting: Counting,
    head: Head,
    met: Vec<Namespace>,
    ended: Ended,
    ended_ns: u64,
}

impl Counted {
    /// # Errors
    /// See [`Error`].
    fn of(recording: Recording, asked: &Asked) -> Result<Self, Error> {
        let head = recording.head().clone();
        let mut counting = Counting::new(head.mono_ns, asked, Limits::RECORDING);
        head.namespaces.iter().for_each(|namespace| allow(namespace, &mut counting));
        for seed in recording.seeds() {
            let row = seeded(seed, head.mono_ns, &mut counting);
            counting.seed(&row);
        }
        let Read { ended, met } = count(recording, &mut counting)?;
        let ended_ns = ended.tail().map_or(counting.last_ns, |tail| tail.mono_ns).max(counting.last_ns);
        counting.close(ended_ns);
        if counting.timeline.is_full() {
            return Err(Error::TooFine { every_s: asked.every_ns.unwrap_or(0) as f64 / 1e9 });
        }
        Ok(Self { counting, head, met, ended, ended_ns })
    }

    /// All of a recording, as the doctor looks at it: told of failures that pass a filter.
    ///
    /// # Errors
    /// See [`Error`].
    fn whole(recording: Recording, looked_at: Filter) -> Result<Self, Error> {
        Self::of(recording, &Asked { looked_at: Some(looked_at), ..Asked::default() })
    }

    fn builder(&self) -> Builder<'_> {
        let told = || {
            let last = self.ended.tail().into_iter().flat_map(|tail| &tail.namespaces);
            self.head.namespaces.iter().chain(&self.met).chain(last)
        };
        let names = told().filter_map(|namespace| Some((namespace.netns, namespace.name.clone()?))).collect();
        Builder::new(&self.counting, names, ports(&self.counting.engine, told()))
    }

    /// What the doctor's rules look at.
    pub(super) fn facts(&self) -> Facts {
        let Self { counting, head, met, ended, ended_ns } = self;
        Recorded { head, met, ended, last_ns: *ended_ns, engine: &counting.engine }.facts()
    }
}

/// What is only known once all was read.
struct Read {
    ended: Ended,
    met: Vec<Namespace>,
}

/// Unpacks batches on a thread of its own and counts them on this one.
fn count(mut recording: Recording, counting: &mut Counting) -> Result<Read, Error> {
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
        met.iter().for_each(|namespace| allow(namespace, counting));
        if let Err(why) = reader.take(&batch, counting) {
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
    Sysctls::try_from(settings).ok().map(|sysctls| capacity(namespace.name.clone(), &sysctls))
}

/// Says what a namespace allows, where that is known and was not said before.
fn allow(namespace: &Namespace, counting: &mut Counting) {
    let is_counted = counting.engine.ports.capacity(namespace.netns).is_some();
    if let Some(capacity) = capacity_of(namespace).filter(|_| !is_counted) {
        counting.engine.ports.allow(namespace.netns, capacity);
    }
}

/// How many ports each namespace allows. Where its sockets came before it was known which ports those are, they were counted by the
/// kernel's default range: that holds if it turned out to be the right one.
fn ports<'a>(engine: &Engine, told: impl Iterator<Item = &'a Namespace>) -> HashMap<u32, u32> {
    let mut ports = HashMap::new();
    for namespace in told {
        let counted_by = engine.ports.capacity(namespace.netns);
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
fn seeded(seed: &Seed, mono_ns: u64, counting: &mut Counting) -> row::Row {
    let Seed { conn, role, substate, .. } = seed;
    row::Row {
        netns: conn.netns,
        saddr: counting.engine.addresses.id(&conn.saddr),
        daddr: counting.engine.addresses.id(&conn.daddr),
        sport: conn.sport,
        dport: conn.dport,
        role: *role,
        substate: Some(*substate),
        via: Some(Via::None),
        ..row::Row::new(Kind::Listed, mono_ns)
    }
}
