//! Owns: one report of the recordings of several machines: each is counted by itself, their rows stand side by side, and only what has no
//! address, no pid and no port is added up.
//! Must not know: how a machine's recordings are counted, how a report is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::build::order;
use super::chain::{Axis, Part};
use super::model::{By, Host, Name, Report, Timeline, TimelineSpan};
use super::read::{Options, Spreads, one_host};
use crate::diagnose::finding::Finding;
use crate::model::clock::Clock;
use crate::model::filter::Filter;
use crate::model::ordering::Ordered as _;
use crate::recording::Head;

/// The digits of a boot's id that tell two of one name apart.
const DIGITS: usize = 8;

/// The recordings of one machine between two boots: pids, network namespaces and CLOCK_MONOTONIC mean the same in all of them.
pub struct Group {
    /// In the order of their beginnings.
    pub parts: Vec<Part>,
    /// Which of its events count.
    pub filter: Filter,
}

/// Puts together what was recorded on one machine between two boots, each in the order of its beginnings.
pub fn by_host(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut hosts = BTreeMap::<_, Vec<Part>>::new();
    for (at, part) in parts.into_iter().enumerate() {
        let Head { machine_id, boot_id, .. } = part.head.clone();
        // Of one that does not say on which boot it was made nobody knows what it goes on from.
        let alone = boot_id.is_empty().then_some(at);
        hosts.entry((machine_id, boot_id, alone)).or_default().push(part);
    }
    let mut hosts: Vec<Vec<Part>> = hosts.into_values().collect();
    for parts in &mut hosts {
        parts.order_by_key(|part| (part.head.mono_ns, part.head.part));
    }
    hosts.order_by_key(|parts| parts.first().map(|part| (part.head.host.clone(), part.head.wall_ns)));
    hosts
}

/// Reads all recordings to their ends. Those of one machine make the report that one recording does.
///
/// # Errors
/// See [`Error`].
pub fn read_hosts(groups: Vec<Group>, options: &Options) -> Result<Report, Error> {
    let of = |filter: &Filter| Options { filter: filter.clone(), ..options.clone() };
    if groups.len() <= 1 {
        let Some(Group { parts, filter }) = groups.into_iter().next() else { return Err(Error::Nothing) };
        return one_host(parts, &of(&filter), None).map(|(report, _)| report);
    }
    let heads: Vec<&Head> =
        groups.iter().filter_map(|group| group.parts.first()).map(|part| &part.head).collect();
    let labels = labels(&heads);
    let origin_ns = heads.iter().map(|head| Axis::began_ns(head)).min().unwrap_or(0);
    let mut all: Option<(Report, Spreads)> = None;
    for (Group { parts, filter }, label) in groups.into_iter().zip(labels) {
        let (report, spreads) = one_host(parts, &of(&filter), Some(Axis { origin_ns }))?;
        let report = labelled(report, &label);
        all = Some(match all {
            None => (report, spreads),
            Some((mut sum, mut spread)) => {
                add(&mut sum, report);
                spread.add(&spreads);
                (sum, spread)
            }
        });
    }
    let Some((mut report, spreads)) = all else { return Err(Error::Nothing) };
    finish(&mut report, &spreads, origin_ns);
    if report.timeline.moments.is_empty() {
        return Err(Error::Nothing);
    }
    Ok(report)
}

/// What each machine is called: by its name, and by the boot as well where several have the same.
fn labels(heads: &[&Head]) -> Vec<String> {
    let name = |head: &Head| if head.host.is_empty() { "unknown".to_owned() } else { head.host.clone() };
    let mut labels: Vec<String> = Vec::new();
    for head in heads {
        let mut label = name(head);
        if heads.iter().filter(|other| name(other) == label).count() > 1 {
            label = format!("{label} {}", head.boot_id.chars().take(DIGITS).collect::<String>());
        }
        let (plain, mut n) = (label.clone(), 2);
        while labels.contains(&label) {
            label = format!("{plain} ({n})");
            n += 1;
        }
        labels.push(label);
    }
    labels
}

/// Says of everything whose it is.
fn labelled(mut report: Report, label: &str) -> Report {
    report.hosts.push(Host { label: label.to_owned(), head: report.head.clone(), tail: report.tail.take() });
    let rows = report.tables.iter_mut().flat_map(|(_, rows)| rows).chain(&mut report.comms);
    for row in rows {
        if let Name::Host { label: known, .. } = &mut row.name {
            label.clone_into(known);
        } else {
            row.host = Some(label.to_owned());
        }
    }
    for finding in report.findings.iter_mut().flatten() {
        of_host(finding, label);
    }
    for said in [&mut report.missing, &mut report.damaged].into_iter().flatten() {
        *said = format!("{label}: {said}");
    }
    report.met.clear();
    report
}

fn of_host(finding: &mut Finding, label: &str) {
    let texts = [&mut finding.what, &mut finding.headline].into_iter();
    let texts = texts.chain(finding.remedies.iter_mut().map(|remedy| &mut remedy.title));
    // A finding that has no words in short keeps having none.
    for text in texts.filter(|text| !text.is_empty()) {
        *text = format!("{}: {text}", crate::model::escape::printable(label));
    }
}

/// Adds a machine.
fn add(sum: &mut Report, one: Report) {
    sum.total.take_over(&one.total);
    sum.recordings += one.recordings;
    sum.ended_ns = sum.ended_ns.max(one.ended_ns);
    sum.left += one.left;
    sum.passed += one.passed;
    sum.listed += one.listed;
    sum.lost = sum.lost.and(&one.lost);
    // What one machine had at the most: of several at one time it would say nothing about any of them.
    if one.busiest.value > sum.busiest.value {
        sum.busiest = one.busiest;
    }
    if one.peak_live.value > sum.peak_live.value {
        sum.peak_live = one.peak_live;
    }
    let pressure = |report: &Report| report.fullest.map_or(-1.0, |peak| peak.pressure());
    if pressure(&one) > pressure(sum) {
        sum.fullest = one.fullest;
    }
    sum.has_unmeasured_pools |= one.has_unmeasured_pools;
    sum.covered.extend(one.covered);
    sum.findings = match (sum.findings.take(), one.findings) {
        (Some(mut all), Some(more)) => {
            all.extend(more);
            Some(all)
        }
        _ => None,
    };
    for (mine, theirs) in [(&mut sum.missing, one.missing), (&mut sum.damaged, one.damaged)] {
        *mine = [mine.take(), theirs].into_iter().flatten().reduce(|all, one| format!("{all}; {one}"));
    }
    sum.comms.extend(one.comms);
    for ((_, mine), (_, theirs)) in sum.tables.iter_mut().zip(one.tables) {
        mine.extend(theirs);
    }
    sum.folded.events += one.folded.events;
    sum.folded.texts += one.folded.texts;
    sum.folded.names += one.folded.names;
    sum.folded.rows.extend(one.folded.rows);
    let timeline = std::mem::take(&mut sum.timeline);
    sum.timeline = joined(timeline, one.timeline);
    sum.hosts.extend(one.hosts);
}

/// Two timelines that begin at one time, in the wider stretches of the two: each width divides the next.
fn joined(one: Timeline, other: Timeline) -> Timeline {
    let every_ns = one.every_ns.max(other.every_ns).max(1);
    let (mut long, mut short) = (widened(one, every_ns), widened(other, every_ns));
    if long.len() < short.len() {
        std::mem::swap(&mut long, &mut short);
    }
    for (sum, part) in long.iter_mut().zip(short) {
        add_moment(sum, &part);
        sum.live += part.live;
        sum.peak_live += part.peak_live;
    }
    Timeline { every_ns, moments: long }
}

fn widened(line: Timeline, every_ns: u64) -> Vec<TimelineSpan> {
    let joined = usize::try_from(every_ns / line.every_ns.max(1)).unwrap_or(usize::MAX).max(1);
    let wide = line.moments.chunks(joined).filter_map(|chunk| {
        chunk.iter().copied().reduce(|mut sum, next| {
            add_moment(&mut sum, &next);
            (sum.live, sum.peak_live) = (next.live, sum.peak_live.max(next.peak_live));
            sum
        })
    });
    wide.collect()
}

/// What happened in both.
fn add_moment(sum: &mut TimelineSpan, one: &TimelineSpan) {
    let pairs = [
        (&mut sum.created, one.created),
        (&mut sum.ended, one.ended),
        (&mut sum.overflow, one.overflow),
        (&mut sum.connect_failed, one.connect_failed),
        (&mut sum.bind_failed, one.bind_failed),
        (&mut sum.aborted, one.aborted),
        (&mut sum.lost, one.lost),
    ];
    pairs.into_iter().for_each(|(sum, part)| *sum = sum.saturating_add(part));
    sum.pressure = sum.pressure.max(one.pressure);
}

/// What can be said only of all of them.
fn finish(report: &mut Report, spreads: &Spreads, origin_ns: u64) {
    report.total.age_us = spreads.age_us.percentiles();
    report.total.lifetime_ms = spreads.lifetime_ms.percentiles();
    report.total.sent = spreads.sent.percentiles();
    report.total.received = spreads.received.percentiles();
    report.covered = apart(std::mem::take(&mut report.covered));
    report.head = together(&report.hosts, origin_ns);
    report.clock = Clock { mono_ns: 0, wall_ns: 0 };
    report.folded.rows = sums(&report.folded.rows);
    // As they are sorted on one machine: what comes first there comes first here.
    report.findings.iter_mut().for_each(|all| all.order_by_key(|finding| finding.severity));
    report.comms.order_by(order);
    for (by, rows) in &mut report.tables {
        rows.order_by(order);
        if *by == By::Process {
            let fine = crate::diagnose::finding::Severity::Fine;
            rows.order_by_key(|row| {
                (row.name == Name::Others, row.severity.unwrap_or(fine), row.figures.failed() == 0)
            });
        }
    }
}

/// Spans of time in order, those that touch made one.
fn apart(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.order_by(Ord::cmp);
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (from, to) in spans {
        match all.last_mut().filter(|(_, end)| from <= *end) {
            Some((_, end)) => *end = to.max(*end),
            None => all.push((from, to)),
        }
    }
    all
}

fn sums(rows: &[(By, u64)]) -> Vec<(By, u64)> {
    let mut sums = BTreeMap::new();
    rows.iter().for_each(|(by, more)| *sums.entry(*by).or_insert(0) += more);
    sums.into_iter().collect()
}

/// A head that says what all of them have in common.
fn together(hosts: &[Host], origin_ns: u64) -> Head {
    let at_end = |host: &Host| host.tail.iter().flat_map(|tail| tail.limitations.clone()).collect::<Vec<_>>();
    let limitations = hosts.iter().flat_map(|host| [host.head.limitations.clone(), at_end(host)].concat());
    let each = |pick: fn(&Head) -> &str| {
        let texts: BTreeSet<&str> = hosts.iter().map(|host| pick(&host.head)).collect();
        texts.into_iter().collect::<Vec<_>>().join(", ")
    };
    Head {
        schema_version: hosts.iter().map(|host| host.head.schema_version).max().unwrap_or(0),
        host: format!("{} hosts", hosts.len()),
        twtrace: each(|head| &head.twtrace),
        kernel: each(|head| &head.kernel),
        backend: each(|head| &head.backend),
        mono_ns: origin_ns,
        wall_ns: i64::try_from(origin_ns).unwrap_or(i64::MAX),
        limitations: limitations.collect(),
        ..Head::default()
    }
}
