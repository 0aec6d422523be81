//! Owns: a report as one JSON object on a line. Keys are those of events and of the live view where they mean the same.
//! Must not know: where it goes.

mod shape;

use std::io::{self, Write};

use crate::engine::Limits;
use serde::{Serialize, Serializer};

use shape::*;

use super::model::{self, By, Figures, Name, Peak, Report, ReportRow, TimelineSpan};
use crate::diagnose::json::First;
use crate::model::event::Via;
use crate::model::identity::Names;
use crate::output::write_object_line;
use crate::present::live::keys;

/// Writes `report` and a newline, row by row: a large one is never whole in memory.
///
/// # Errors
/// Of writing.
pub fn line(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    write_object_line(&Whole::of(report), out)
}

/// Rows that become JSON one after the other.
pub(super) struct Entries<'a>(&'a Report, &'a [ReportRow]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(report, rows) = self;
        to.collect_seq(rows.iter().map(|row| TableEntry::of(report, row)))
    }
}

fn time(report: &Report, mono_ns: u64) -> String {
    keys::time(report.clock, mono_ns)
}

impl<'a> Whole<'a> {
    fn of(report: &'a Report) -> Self {
        let rows = |by: By| report.table(by).map(|rows| Entries(report, rows));
        Self {
            file: &report.file,
            recordings: (report.recordings > 1).then_some(report.recordings),
            left: (report.left != 0).then_some(report.left),
            complete: report.missing.is_none() && report.damaged.is_none(),
            missing: report.missing.as_deref(),
            damaged: report.damaged.as_deref(),
            began: time(report, report.head.mono_ns),
            ended_time: time(report, report.ended_ns),
            duration_s: report.duration_s(),
            filters: &report.filters,
            heads: report.hosts.iter().map(|host| &host.head).collect(),
            head: &report.head,
            tail: report.tail.as_ref(),
            met: &report.met,
            peak_live_time: (report.peak_live.value != 0).then(|| time(report, report.peak_live.at_ns)),
            peak_created_per_s: report.busiest.value,
            peak_created_time: (report.busiest.value != 0).then(|| time(report, report.busiest.at_ns)),
            total: Tally::of(report, &report.total, report.fullest),
            lost: report.lost.into(),
            findings: report.findings.as_ref().map(|all| {
                all.iter().map(|one| FindingLine { line: one.into(), remedies: &one.remedies }).collect()
            }),
            first: report.findings.as_deref().and_then(First::of),
            folded: (report.folded != model::Folded::default()).then(|| (&report.folded).into()),
            comms: Entries(report, &report.comms),
            processes: rows(By::Process),
            peers: rows(By::Peer),
            tuples: rows(By::Tuple),
            ports: rows(By::Port),
            containers: rows(By::Container),
            netns: rows(By::Netns),
            reasons: rows(By::Reason),
            hosts: rows(By::Host),
            timeline: Timeline::of(report),
        }
    }
}

impl From<&model::Folded> for Folded {
    fn from(folded: &model::Folded) -> Self {
        Self {
            most_groups: Limits::RECORDING.groups,
            events: folded.events,
            texts: folded.texts,
            most_rows: super::MOST_ROWS,
            names: folded.names,
            rows: folded.rows.iter().map(|(by, rows)| (by.word(), *rows)).collect(),
        }
    }
}

impl Timeline {
    fn of(report: &Report) -> Self {
        let moment = |moment: &TimelineSpan| Stretch {
            time: time(report, moment.at_ns),
            mono_ns: moment.at_ns,
            created: moment.created,
            ended: moment.ended,
            overflow: moment.overflow,
            connect_failed: moment.connect_failed,
            bind_failed: moment.bind_failed,
            aborted: moment.aborted,
            lost: moment.lost,
            live: moment.live,
            peak_live: moment.peak_live,
            pressure: (f64::from(moment.pressure) * 1e6).round() / 1e6,
        };
        Self {
            every_ms: report.timeline.every_ns as f64 / 1e6,
            stretches: report.timeline.moments.iter().map(moment).collect(),
        }
    }
}

impl Tally {
    fn of(report: &Report, figures: &Figures, peak: Option<Peak>) -> Self {
        let counts = &figures.counts;
        let via = Via::ALL.iter().map(|via| via.word()).zip(figures.via);
        Self {
            created: counts.created,
            listed: counts.listed,
            created_per_s: report.per_second(counts.created),
            ended: counts.ended(),
            ended_per_s: report.per_second(counts.ended()),
            ended_by: counts.reasons().map(|(reason, count)| (reason.word(), count)).collect(),
            overflow: counts.overflow,
            connect_failed: counts.connect_failed,
            bind_failed: counts.bind_failed,
            aborted: counts.aborted,
            syn_refused: counts.syn_refused,
            live: figures.live,
            peak_live: figures.peak_live,
            created_as_client: figures.client,
            created_as_server: figures.server,
            created_in_fin_wait2: figures.fin_wait2,
            created_by_owner_via: via.filter(|(_, count)| *count != 0).collect(),
            age_ms: figures.age_us.map(Into::into),
            lifetime_ms: figures.lifetime_ms,
            bytes_sent: figures.sent,
            bytes_received: figures.received,
            first_mono_ns: (figures.first_ns != 0).then_some(figures.first_ns),
            last_mono_ns: (figures.last_ns != 0).then_some(figures.last_ns),
            peak: peak.map(|peak| Fullest::of(report, &peak)),
        }
    }
}

impl Fullest {
    fn of(report: &Report, peak: &Peak) -> Self {
        Self {
            tuple: peak.tuple,
            ports_in_use: peak.ports_in_use,
            ports: peak.ports,
            pressure: peak.pressure(),
            time: time(report, peak.at_ns),
        }
    }
}

impl TableEntry {
    fn of(report: &Report, row: &ReportRow) -> Self {
        Self {
            host: row.host.clone(),
            name: (&row.name).into(),
            tally: Tally::of(report, &row.figures, row.peak),
            target: row.target,
            main: row.main.clone(),
            called: row.names.clone().map(Into::into),
        }
    }
}

impl From<Names> for Called {
    fn from(Names { name, image, pod, pod_namespace }: Names) -> Self {
        Self { container_name: name, image, pod, pod_namespace }
    }
}

impl From<&Name> for Named {
    fn from(name: &Name) -> Self {
        match name.clone() {
            Name::Process { pid, comm, uid, exe, container, .. } => {
                Self::Process { pid, comm, uid, exe, container }
            }
            Name::Comm(comm) => Self::Comm { comm },
            Name::Unknown => Self::Marked { unknown: Some(true), others: None },
            Name::Others => Self::Marked { unknown: None, others: Some(true) },
            Name::Peer(address) => Self::Peer { daddr: address },
            Name::Tuple(key) => Self::Tuple(key),
            Name::Port(key) => Self::Port(key),
            Name::Container(container) => Self::Container { container },
            Name::Netns(netns, name) => Self::Netns { netns, name },
            Name::Reason(reason) => Self::Reason { reason: reason.word() },
            Name::Host { label, machine_id, boot_id, kernel, recordings } => {
                Self::Host { host: label, machine_id, boot_id, kernel, recordings }
            }
        }
    }
}
