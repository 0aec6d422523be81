//! What is counted column by column is what one counts event by event.

use std::collections::HashMap;
use std::io::Cursor;

use ipnet::IpNet;

use crate::engine::{self, Figures, Spread, TupleKey};
use crate::model::event::{Event, Kind, Reason, Role};
use crate::model::filter::{CgroupFilter, Filter, Unwanted};
use crate::present::report::model::{Name, ReportRow};
use crate::present::report::sample::{LATE, NETNS, Sample, sample};
use crate::present::report::{By, Options, Report, read};
use crate::recording::Recording;

fn options(filter: Filter) -> Options {
    Options { file: "sample.twt".to_owned(), filter, by: By::ALL.to_vec(), ..Options::default() }
}

fn report(sample: &Sample, filter: Filter) -> Report {
    read(sample.recording(), &options(filter)).unwrap()
}

fn row(report: &Report, by: By, wanted: impl Fn(&Name) -> bool) -> &ReportRow {
    let found: Vec<&ReportRow> = report.table(by).unwrap().iter().filter(|row| wanted(&row.name)).collect();
    assert_eq!(
        found.len(),
        1,
        "{by:?}: {:?}",
        report.table(by).unwrap().iter().map(|row| &row.name).collect::<Vec<_>>()
    );
    found[0]
}

/// A row of the live view beside the report's.
fn compare(what: &str, row: &ReportRow, live: &Figures) {
    let figures = &row.figures;
    let mut counts = live.counts;
    counts.loss = figures.counts.loss;
    assert_eq!(figures.counts, counts, "{what}");
    assert_eq!((figures.live, figures.peak_live), (live.live, live.peak_live), "{what}");
    assert_eq!(
        (figures.client, figures.server, figures.fin_wait2),
        (live.client, live.server, live.fin_wait2),
        "{what}"
    );
    assert_eq!(
        (figures.age_us, figures.sent, figures.received),
        (live.age_us, live.sent, live.received),
        "{what}"
    );
    if live.counts.events() != 0 {
        assert_eq!((figures.first_ns, figures.last_ns), (live.first_ns, live.last_ns), "{what}");
    }
}

#[test]
fn every_row_is_that_of_the_live_view() {
    let sample = sample(5003);
    let report = report(&sample, Filter::default());
    let tracker = sample.tracker.snapshot(engine::By::ALL);
    let total = ReportRow::new(Name::Unknown, report.total.clone());
    compare("total", &total, &Figures { first_ns: total.figures.first_ns, ..tracker.total.clone() });
    assert_eq!(report.lost, tracker.total.counts.loss);
    let mut rows = 0;
    for live in &tracker.processes {
        let found = row(&report, By::Process, |name| match name {
            Name::Process { pid, start_ns, .. } => (*pid, *start_ns) == (live.key.pid, live.key.start_ns),
            name => *name == Name::Unknown && live.key.is_unknown(),
        });
        compare("process", found, &live.figures);
        let target = live.main.as_ref().map(|main| main.target);
        let main = found.target;
        if live.targets == 1 {
            assert_eq!(main, target);
        }
        rows += 1;
    }
    for live in &tracker.tuples {
        compare("tuple", row(&report, By::Tuple, |name| *name == Name::Tuple(live.key)), &live.figures);
        rows += 1;
    }
    for live in &tracker.peers {
        compare("peer", row(&report, By::Peer, |name| *name == Name::Peer(live.key)), &live.figures);
        rows += 1;
    }
    for live in &tracker.ports {
        compare("port", row(&report, By::Port, |name| *name == Name::Port(live.key)), &live.figures);
        rows += 1;
    }
    for live in &tracker.containers {
        let key = live.key.clone();
        let wanted = |name: &Name| *name == Name::Container(key.clone());
        compare("container", row(&report, By::Container, wanted), &live.figures);
        rows += 1;
    }
    for live in &tracker.netns {
        let found =
            row(&report, By::Netns, |name| matches!(name, Name::Netns(inode, _) if *inode == live.key));
        compare("netns", found, &live.figures);
        rows += 1;
    }
    let all: usize =
        report.tables.iter().filter(|(by, _)| *by != By::Reason).map(|(_, rows)| rows.len()).sum();
    assert_eq!(all, rows, "the report has rows that the live view has not");
}

/// Counts event by event.
fn naive(events: &[&Event]) -> [usize; 9] {
    Kind::ALL
        .iter()
        .map(|kind| events.iter().filter(|event| event.kind == *kind).count())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

fn told(report: &Report) -> [usize; 9] {
    let counts = &report.total.counts;
    let lost = report.timeline.moments.iter().filter(|moment| moment.lost != 0).count();
    [
        counts.created as usize,
        counts.ended() as usize,
        counts.listed as usize,
        counts.overflow as usize,
        counts.connect_failed as usize,
        counts.bind_failed as usize,
        counts.aborted as usize,
        counts.syn_refused as usize,
        lost,
    ]
}

fn filters() -> Vec<Filter> {
    let none = Filter::default;
    let cgroup = CgroupFilter { path: "/system.slice".into(), leaf_id: None };
    let service = CgroupFilter { path: "/system.slice/7.service".into(), leaf_id: None };
    vec![
        none(),
        Filter { pids: vec![13, 101], ..none() },
        Filter { comms: vec!["curl".into()], ..none() },
        Filter { uids: vec![33], ..none() },
        Filter { uids: vec![34], ..none() },
        Filter { cgroups: vec![service], ..none() },
        Filter { cgroups: vec![cgroup], roles: vec![Role::Server], ..none() },
        Filter { netns: vec![LATE], ..none() },
        Filter { sports: vec![80, 40_003], ..none() },
        Filter { dports: vec![5432], ..none() },
        Filter { ports: vec![40_003, 8080], ..none() },
        Filter { peers: vec!["10.0.0.8/31".parse::<IpNet>().unwrap()], ..none() },
        Filter { family: Some(6), ..none() },
        Filter { family: Some(4), reasons: vec![Reason::Expired, Reason::Reset], ..none() },
        Filter { roles: vec![Role::Unknown], ..none() },
        Filter { roles: vec![Role::Client], ..none() },
        Filter {
            not: Unwanted { comms: vec!["c*l".into()], ports: vec![40_003], ..Unwanted::default() },
            ..none()
        },
    ]
}

#[test]
fn filters_let_the_same_events_pass_as_one_by_one() {
    let sample = sample(3001);
    let mut seen = Vec::new();
    for filter in filters() {
        let report = report(&sample, filter.clone());
        let all = sample.listed.iter().chain(&sample.events);
        let passed: Vec<&Event> = all.filter(|event| filter.passes(event)).collect();
        assert_eq!(told(&report), naive(&passed), "{filter:?}");
        let ended =
            |reason: Reason| passed.iter().filter(|event| event.reason == Some(reason)).count() as u64;
        for reason in Reason::ALL {
            assert_eq!(report.total.counts.ended_for(*reason), ended(*reason), "{filter:?}");
        }
        let tables = [By::Netns, By::Process]
            .map(|by| report.table(by).unwrap().iter().map(|row| row.figures.counts.created).sum::<u64>());
        assert_eq!(tables, [report.total.counts.created; 2], "{filter:?}");
        seen.push(told(&report));
    }
    assert!(
        seen[1..].iter().all(|one| *one != seen[0] || one[0] == seen[3][0]),
        "a filter that filters nothing: {seen:?}"
    );
}

#[test]
fn reasons_have_their_lifetimes() {
    let sample = sample(2003);
    let report = report(&sample, Filter::default());
    let mut want: HashMap<Reason, (u64, Spread)> = HashMap::new();
    for event in sample.events.iter().filter(|event| event.kind == Kind::Ended) {
        let (count, lifetimes) = want.entry(event.reason.unwrap()).or_default();
        *count += 1;
        if let Some(ns) = event.lifetime_ns {
            lifetimes.add(ns / 1_000_000);
        }
    }
    let rows = report.table(By::Reason).unwrap();
    assert_eq!(rows.len(), want.len());
    for ReportRow { name, figures, .. } in rows {
        let Name::Reason(reason) = name else { panic!("{name:?}") };
        let (count, lifetimes) = &want[reason];
        assert_eq!((figures.counts.ended(), figures.lifetime_ms), (*count, lifetimes.percentiles()));
    }
}

#[test]
fn pressure_is_what_the_live_view_saw_at_the_worst() {
    let sample = sample(4001);
    let report = report(&sample, Filter::default());
    // The live view knows the present only: so it is asked after each event.
    let mut tracker = engine::Tracker::new();
    tracker.advance(sample.head.mono_ns);
    let settings = sample.head.namespaces[0].sysctls.clone().unwrap().counted().unwrap();
    tracker.set_capacity(NETNS, engine::Capacity { name: None, settings });
    sample.listed.iter().for_each(|event| drop(tracker.apply(&mut event.clone())));
    let mut worst: HashMap<TupleKey, (u32, u64)> = HashMap::new();
    let mut keep_worst = |tracker: &engine::Tracker, now_ns: u64| {
        for row in tracker.snapshot(&[engine::By::Tuple]).tuples {
            let Some(pressure) = row.pressure else { continue };
            let most = worst.entry(row.key).or_default();
            if pressure.in_use > most.0 {
                *most = (pressure.in_use, now_ns);
            }
        }
    };
    keep_worst(&tracker, sample.head.mono_ns);
    for event in &sample.events {
        tracker.apply(&mut event.clone());
        keep_worst(&tracker, event.mono_ns);
    }
    let (tuple, (ports, at_ns)) = worst.iter().max_by_key(|(_, (ports, _))| *ports).unwrap();
    let hottest = report.fullest.unwrap();
    assert_eq!(
        (hottest.tuple, hottest.ports_in_use, hottest.at_ns, hottest.ports),
        (*tuple, *ports, *at_ns, 99)
    );
    let line = report.timeline.moments.iter().map(|moment| moment.pressure).fold(0.0, f32::max);
    assert!((f64::from(line) - hottest.pressure()).abs() < 1e-6, "{line} and {}", hottest.pressure());
    for row in report.table(By::Tuple).unwrap() {
        let Name::Tuple(tuple) = row.name else { panic!() };
        let want = worst.get(&tuple).filter(|(ports, _)| *ports != 0);
        let got = row.peak.map(|peak| (peak.ports_in_use, peak.at_ns));
        assert_eq!(got, want.copied(), "{tuple:?}");
        assert!(row.peak.is_some() || tuple.netns == LATE || row.figures.counts.created == 0);
    }
}

#[test]
fn the_timeline_adds_up() {
    let sample = sample(3001);
    for every_ns in [None, Some(1_000_000_000), Some(77_000_000)] {
        let options = Options { every_ns, ..options(Filter::default()) };
        let report = read(sample.recording(), &options).unwrap();
        let sum = |pick: fn(&crate::present::report::model::TimelineSpan) -> u32| {
            report.timeline.moments.iter().map(pick).sum::<u32>() as u64
        };
        let counts = &report.total.counts;
        assert_eq!(sum(|m| m.created), counts.created);
        assert_eq!(sum(|m| m.ended), counts.ended());
        assert_eq!(sum(|m| m.overflow + m.connect_failed + m.bind_failed), report.total.failed());
        assert_eq!(
            u64::from(report.timeline.moments.iter().map(|m| m.peak_live).max().unwrap()),
            report.total.peak_live
        );
        assert_eq!(u64::from(report.timeline.moments.last().unwrap().live), report.total.live);
        assert_eq!(report.timeline.every_ns, every_ns.unwrap_or(100_000_000));
        let seconds: HashMap<u64, u64> = sample
            .events
            .iter()
            .filter(|event| event.kind == Kind::Created)
            .fold(HashMap::new(), |mut all, event| {
                *all.entry((event.mono_ns - sample.head.mono_ns) / 1_000_000_000).or_default() += 1;
                all
            });
        assert_eq!(report.busiest.value, *seconds.values().max().unwrap());
    }
}

#[test]
fn a_width_that_makes_too_many_lines_is_refused() {
    let options = Options { every_ns: Some(1_000), ..options(Filter::default()) };
    let error = read(sample(1009).recording(), &options).unwrap_err().to_string();
    assert!(error.contains("--every 0.000001 s"), "{error}");
}

#[test]
fn without_its_end_it_is_counted_up_to_the_last_complete_batch() {
    let sample = sample(2003);
    let whole = sample.bytes(97, false);
    let bytes = whole[..whole.len() - 11].to_vec();
    let report =
        read(Recording::read(Cursor::new(bytes), "cut").unwrap(), &options(Filter::default())).unwrap();
    let kept = sample.events.len() - sample.events.len() % 97;
    let passed: Vec<&Event> = sample.listed.iter().chain(&sample.events[..kept]).collect();
    assert_eq!(told(&report)[..8], naive(&passed)[..8]);
    assert!(report.missing.is_some() && report.tail.is_none());
    assert_eq!(report.ended_ns, sample.events[kept - 1].mono_ns);
}
