//! Owns: reading a recording from its first batch to its end, and making the report of it.
//! Must not know: how rows are counted, how a report is shown.

use super::Error;
use super::chain::{Axis, Counted, Part};
use super::count::{CountOptions, Counting};
use super::model::{By, Folded, Name, Reached, Report, ReportRow};
use crate::diagnose::facts::{Facts, Process, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::{found, scope};
use crate::engine::Spread;
use crate::model::filter::Filter;
use crate::model::ordering::Ordered as _;
use crate::recording::{Ended, Recording};

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

/// Reads a recording to its end. A recording that breaks off is no error: the report says so.
///
/// # Errors
/// See [`Error`].
pub fn read(recording: Recording, options: &Options) -> Result<Report, Error> {
    one_host(vec![Part::opened(options.file.clone().into(), recording)], options, None)
        .map(|(report, _)| report)
}

/// Of all that was counted, what percentiles of several machines together are made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Spreads {
    pub(super) age_us: Spread,
    pub(super) lifetime_ms: Spread,
    pub(super) sent: Spread,
    pub(super) received: Spread,
}

impl Spreads {
    fn of(counting: &Counting) -> Self {
        let mut all = Self::default();
        for (_, group) in counting.engine.all() {
            all.age_us.merge(&group.age_us);
            all.lifetime_ms.merge(&group.lifetime_ms);
            all.sent.merge(&group.sent);
            all.received.merge(&group.received);
        }
        all
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.age_us.merge(&other.age_us);
        self.lifetime_ms.merge(&other.lifetime_ms);
        self.sent.merge(&other.sent);
        self.received.merge(&other.received);
    }
}

/// The recordings of one machine between two boots, in the order of their beginnings.
///
/// # Errors
/// See [`Error`].
pub(super) fn one_host(
    parts: Vec<Part>,
    options: &Options,
    axis: Option<Axis>,
) -> Result<(Report, Spreads), Error> {
    let origin_ns = axis.map(|axis| axis.origin_ns);
    let (filter, every_ns) = (options.filter.clone(), options.every_ns);
    let asked = CountOptions { filter, every_ns, origin_ns, ..CountOptions::default() };
    let recordings = parts.len() as u64;
    let counted = Counted::of(parts, &asked, axis)?;
    let builder = counted.builder();
    // A pool counts whole for the doctor, whoever is asked about.
    let findings = options.filter.is_empty().then(|| found(&counted.facts()));
    let ((comms, names), timeline, total) = (builder.comms(), builder.timeline(), builder.total());
    let (engine, fullest) = (&counted.counting.engine, builder.fullest());
    let has_unmeasured_pools = builder.has_unmeasured_pools();
    let mut folded = Folded { events: engine.folded(), texts: engine.refused(), names, rows: Vec::new() };
    let tables = tables(&counted, recordings, options, findings.as_deref(), &mut folded);
    let spreads = Spreads::of(&counted.counting);
    let Counted { counting, head, met, ended, ended_ns, troubles, covered, left, .. } = counted;
    let (population, busiest) = (counting.population, counting.busiest);
    let report = Report {
        file: options.file.clone(),
        recordings,
        clock: head.clock(),
        missing: match &ended {
            Ended::Missing { why } => Some(why.clone()),
            Ended::Complete(_) | Ended::Damaged { .. } => None,
        },
        damaged: damaged(&ended, troubles),
        filters: options.filters.clone(),
        ended_ns,
        covered,
        left,
        passed: counting.events,
        total,
        fullest,
        has_unmeasured_pools,
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
        hosts: Vec::new(),
    };
    Ok((report, spreads))
}

/// The tables that are wanted; rows that there is no room for are said in `folded`.
fn tables(
    counted: &Counted,
    recordings: u64,
    options: &Options,
    findings: Option<&[Finding]>,
    folded: &mut Folded,
) -> Vec<(By, Vec<ReportRow>)> {
    let builder = counted.builder();
    let mut tables = Vec::new();
    for by in &options.by {
        if *by == By::Host {
            let name = Name::host(&counted.head, counted.head.host.clone(), recordings);
            let row = ReportRow { peak: builder.fullest(), ..ReportRow::new(name, builder.total()) };
            tables.push((*by, vec![row]));
            continue;
        }
        let (mut rows, more) = builder.table(*by);
        if *by == By::Process {
            worst_first(&mut rows, findings.unwrap_or_default());
        }
        tables.push((*by, rows));
        if more != 0 {
            folded.rows.push((*by, more));
        }
    }
    tables
}

/// What could not be read, of the last recording and of those before it.
fn damaged(ended: &Ended, mut troubles: Vec<String>) -> Option<String> {
    if let Ended::Damaged { why, .. } = ended {
        troubles.push(why.clone());
    }
    (!troubles.is_empty()).then(|| troubles.join("; "))
}

/// Says of each process how bad it is that it has a part in, and puts those first that press: by that, then those that failed.
fn worst_first(rows: &mut [ReportRow], findings: &[Finding]) {
    for row in rows.iter_mut() {
        let Name::Process { pid, start_ns, comm, .. } = &row.name else { continue };
        let process = Process { pid: Some(*pid), start_ns: *start_ns, ..Process::default() };
        let is_it = |share: &Share| share.process.is(&process) && share.process.comm == *comm;
        let bad = findings.iter().filter(|finding| finding.severity <= Severity::Warning);
        // Findings are worst first.
        row.severity =
            bad.filter(|finding| finding.who.iter().any(is_it)).map(|finding| finding.severity).next();
    }
    rows.order_by_key(|row| {
        let severity = row.severity.unwrap_or(Severity::Fine);
        (row.name == Name::Others, severity, row.figures.failed() == 0)
    });
}

/// What the doctor's rules look at, of a whole recording and kept to what a filter is about; and how many of its events pass, whatever
/// the role, `lost` left out.
///
/// # Errors
/// See [`Error`].
pub fn facts(recording: Recording, filter: &Filter, nat_ports: Option<u32>) -> Result<(Facts, u64), Error> {
    // A failure has no role: which roles are wanted decides what is spoken of.
    let looked_at = Filter { roles: Vec::new(), failures: None, ..filter.clone() };
    let counted = Counted::whole(recording, looked_at)?;
    let mut facts = Facts { nat_ports, ..counted.facts() };
    scope::keep(&mut facts, filter);
    Ok((facts, counted.counting.events))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Figures;

    /// A pid is used again, also by the next process of the same name.
    #[test]
    fn another_life_of_a_pid_is_not_what_presses() {
        const SECOND_NS: u64 = 1_000_000_000;
        let row = |start_ns| {
            let (comm, exe, container) = ("curl".to_owned(), None, None);
            let name = Name::Process { pid: 4711, start_ns, comm, uid: 0, exe, container };
            ReportRow::new(name, Figures::default())
        };
        let process =
            Process { pid: Some(4711), start_ns: 97 * SECOND_NS, comm: "curl".into(), ..Process::default() };
        let mut finding = Finding::new("ports", Severity::Critical, "calls fail".to_owned());
        finding.who = vec![Share { process, ..Share::default() }];
        let mut rows = vec![row(13 * SECOND_NS), row(97 * SECOND_NS)];
        worst_first(&mut rows, &[finding]);
        let told: Vec<_> = rows.into_iter().map(|row| (row.name, row.severity)).collect();
        let want = [(97, Some(Severity::Critical)), (13, None)];
        assert_eq!(told, want.map(|(start_s, severity)| (row(start_s * SECOND_NS).name, severity)));
    }
}
