//! Recordings of several machines, and several of one.

use std::io::Cursor;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::shown::compare;
use crate::engine::Tracker;
use crate::model::event::{Event, Kind};
use crate::model::filter::Filter;
use crate::model::identity::{Identity, Names, container_of};
use crate::output::paint::Paint;
use crate::present::report::model::Name;
use crate::present::report::sample::{START_NS, sample};
use crate::present::report::text::{Layout, text};
use crate::present::report::{By, Group, Options, Part, Report, by_host, json, read, read_hosts};
use crate::recording::{Encoder, Head, Recording, Stop, Tail};

const SECOND_NS: u64 = 1_000_000_000;

fn options() -> Options {
    let by = By::ALL.iter().copied().chain([By::Host]).collect();
    Options { file: "day".to_owned(), by, ..Options::default() }
}

pub(crate) fn part(name: &str, bytes: Vec<u8>) -> Part {
    Part::opened(name.into(), Recording::read(Cursor::new(bytes), name).unwrap())
}

pub(crate) fn report_of(parts: Vec<Part>) -> Result<Report, crate::present::report::Error> {
    let group = |parts| Group { parts, filter: Filter::default() };
    read_hosts(by_host(parts).into_iter().map(group).collect(), &options())
}

fn bytes(head: &Head, events: &[Event], tail: &Tail) -> Vec<u8> {
    let mut encoder = Encoder::new(head).unwrap();
    events.iter().for_each(|event| encoder.append(event));
    encoder.close_batch().unwrap();
    encoder.finish(tail).unwrap();
    std::mem::take(encoder.bytes())
}

/// As [`machine`], of a process in a container that is called so.
pub(crate) fn machine_with(name: &str, created: u64, wall_ns: i64, mono_ns: u64, names: &Names) -> Vec<u8> {
    let identity = Identity {
        cgroup: Some("/system.slice/docker-0123456789abcdef.scope".to_owned()),
        container: container_of(&format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4))),
        names: names.clone().into(),
        ..Identity::default()
    };
    made(name, created, wall_ns, mono_ns, Some(identity.into()))
}

/// A machine on which one process makes so many sockets towards one address: pid, namespace and addresses are the same on each.
pub(crate) fn machine(name: &str, created: u64, wall_ns: i64, mono_ns: u64) -> Vec<u8> {
    made(name, created, wall_ns, mono_ns, None)
}

fn made(name: &str, created: u64, wall_ns: i64, mono_ns: u64, identity: Option<Arc<Identity>>) -> Vec<u8> {
    let sample = sample(701);
    let head = Head {
        host: name.to_owned(),
        machine_id: format!("id of {name}"),
        boot_id: format!("boot of {name}"),
        mono_ns,
        wall_ns,
        ..sample.head.clone()
    };
    let one = sample.events.iter().find(|event| event.kind == Kind::Created).unwrap();
    let event = |n: u64| {
        let mut event = one.clone();
        event.mono_ns = mono_ns + n * SECOND_NS;
        event.conn.as_mut().unwrap().sport = 40_010 + n as u16;
        event.identity = identity.clone().or(event.identity);
        event
    };
    let events: Vec<Event> = (0..created).map(event).collect();
    let tail = Tail { mono_ns: mono_ns + created * SECOND_NS, ..Tail::default() };
    bytes(&head, &events, &tail)
}

pub(crate) const WALL_NS: i64 = 1_795_363_509_000_000_000;

fn three() -> Report {
    let parts = vec![
        part("a.twt", machine("web-1", 7, WALL_NS, 1009 * SECOND_NS)),
        // Booted after the others began.
        part("b.twt", machine("web-2", 13, WALL_NS + 5 * SECOND_NS as i64, SECOND_NS)),
        part("c.twt", machine("web-3", 11, WALL_NS + 2 * SECOND_NS as i64, 1009 * SECOND_NS)),
    ];
    report_of(parts).unwrap()
}

#[test]
fn rows_of_three_machines_stand_side_by_side() {
    let report = three();
    assert_eq!((report.total.counts.created, report.total.live, report.recordings), (31, 31, 3));
    // What one of them had at the most.
    assert_eq!((report.total.peak_live, report.peak_live.value, report.busiest.value), (13, 13, 1));
    for by in [By::Process, By::Tuple, By::Peer, By::Netns, By::Container] {
        let rows = report.table(by).unwrap();
        let told: Vec<_> =
            rows.iter().map(|row| (row.host.as_deref().unwrap(), row.figures.counts.created)).collect();
        assert_eq!(told, [("web-2", 13), ("web-3", 11), ("web-1", 7)], "{by:?}");
        assert!(rows.windows(2).all(|pair| pair[0].name == pair[1].name), "{by:?}");
    }
    let hosts = report.table(By::Host).unwrap().iter().map(|row| match &row.name {
        Name::Host { label, recordings: 1, .. } => (label.as_str(), row.figures.counts.created),
        name => panic!("{name:?}"),
    });
    assert_eq!(hosts.collect::<Vec<_>>(), [("web-2", 13), ("web-3", 11), ("web-1", 7)]);
}

#[test]
fn machines_are_merged_by_the_calendar() {
    let report = three();
    // From the first second of web-1 to the last of web-2.
    assert_eq!((report.duration_s(), report.clock.wall_ns(report.head.mono_ns)), (18.0, WALL_NS));
    assert_eq!(report.clock.wall_ns(report.ended_ns), WALL_NS + 18 * SECOND_NS as i64);
    let mut each_second = [0; 18];
    for moment in &report.timeline.moments {
        let second = (moment.at_ns - WALL_NS as u64) / SECOND_NS;
        if moment.created != 0 {
            each_second[second as usize] += moment.created;
        }
    }
    // web-1 in 0..7, web-3 in 2..13, web-2 in 5..18.
    let want = (0..18).map(|at| u32::from(at < 7) + u32::from((2..13).contains(&at)) + u32::from(at >= 5));
    assert_eq!(each_second.to_vec(), want.collect::<Vec<_>>());
}

#[test]
fn machines_of_one_name_and_boots_of_one_machine_are_told_apart() {
    let rename = |bytes: Vec<u8>| part("x.twt", bytes);
    let mut parts = vec![
        rename(machine("web-1", 7, WALL_NS, SECOND_NS)),
        rename(machine("web-2", 11, WALL_NS, SECOND_NS)),
    ];
    let sample = sample(1);
    let again = Head {
        host: "web-1".to_owned(),
        boot_id: "another boot".to_owned(),
        machine_id: "id of web-1".to_owned(),
        ..sample.head
    };
    parts.push(rename(bytes(&again, &[], &sample.tail)));
    let report = report_of(parts).unwrap();
    let mut labels: Vec<&str> = report.hosts.iter().map(|host| host.label.as_str()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["web-1 another ", "web-1 boot of ", "web-2"]);
}

#[test]
fn as_they_are_shown() {
    let report = three();
    let layout = Layout { wide: false, most: 5, timeline: false, columns: None, paint: Paint::NONE };
    compare("hosts.txt", &text(&report, layout, &TimeZone::UTC));
    let mut out = Vec::new();
    json::line(&report, &mut out).unwrap();
    let mut value: Value = serde_json::from_slice(&out).unwrap();
    value["timeline"]["stretches"].as_array_mut().unwrap().truncate(3);
    compare("hosts.json", &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
}

/// The files that the sample would have been written to, each with what lives at its beginning.
fn rotated(cuts: &[usize]) -> (Vec<Part>, Recording) {
    let sample = sample(2003);
    let mut tracker = Tracker::new();
    tracker.advance(START_NS);
    let mut head = sample.head.clone();
    let mut listed: Vec<Event> = sample.listed.clone();
    listed.iter().for_each(|event| drop(tracker.apply(&mut event.clone())));
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, to) in cuts.iter().copied().chain([sample.events.len()]).enumerate() {
        let events = &sample.events[from..to];
        events.iter().for_each(|event| drop(tracker.apply(&mut event.clone())));
        let is_last = to == sample.events.len();
        let now_ns = events.last().unwrap().mono_ns;
        let head_rows = if at == 0 { 0 } else { listed.len() };
        let tail = Tail {
            events: (events.len() + head_rows) as u64,
            ..if is_last {
                sample.tail.clone()
            } else {
                Tail { mono_ns: now_ns, stop: Stop::Rotated, ..Tail::default() }
            }
        };
        parts.push(part(&format!("{at}.twt"), bytes(&head, &[&listed[..], events].concat(), &tail)));
        let (mono_ns, wall_ns) = (now_ns + 1, head.wall_ns + 1_000_003);
        head = Head { mono_ns, wall_ns, part: at as u64 + 1, ..head };
        listed = tracker.sockets().map(|(conn, live)| live.event(conn, mono_ns)).collect();
        assert!(is_last || listed.len() > 11, "nothing lives between the files");
        from = to;
    }
    let whole = bytes(&sample.head, &[sample.listed, sample.events].concat(), &sample.tail);
    (parts, Recording::read(Cursor::new(whole), "whole").unwrap())
}

fn shown(report: &Report) -> Value {
    let mut out = Vec::new();
    json::line(report, &mut out).unwrap();
    let mut value: Value = serde_json::from_slice(&out).unwrap();
    let all = value.as_object_mut().unwrap();
    // How many files there are is all that is to differ.
    all.remove("recordings");
    all["hosts"][0].as_object_mut().unwrap().remove("recordings");
    value
}

#[test]
fn a_rotated_recording_is_one_recording() {
    let (mut parts, whole) = rotated(&[701, 1009]);
    let want = shown(&read(whole, &options()).unwrap());
    // In whichever order they are named.
    parts.rotate_left(1);
    let got = report_of(parts).unwrap();
    assert_eq!((got.recordings, got.left, got.hosts.len()), (3, 0, 0));
    assert!(want["live"].as_u64() > Some(0) && want["processes"].as_array().unwrap().len() > 3);
    let got = shown(&got);
    for (key, value) in want.as_object().unwrap() {
        assert_eq!(&got[key], value, "{key}");
    }
    assert_eq!(got, want);
}

#[test]
fn what_lives_where_nothing_goes_on_is_let_go_of() {
    let (mut parts, _) = rotated(&[701, 1009]);
    let lost = parts.remove(1);
    assert_eq!(lost.head.part, 1);
    let first_alone = report_of(rotated(&[701, 1009]).0.drain(..1).collect()).unwrap();
    let report = report_of(parts).unwrap();
    assert_eq!(report.left, first_alone.total.live);
    let counts = report.total.counts;
    assert!(report.left > 0);
    assert_eq!(counts.created + counts.listed, counts.ended() + report.left + report.total.live);
    let rows = report.table(By::Process).unwrap();
    assert_eq!(rows.iter().map(|row| row.figures.live).sum::<u64>(), report.total.live);
    let whole = report.ended_ns - report.head.mono_ns;
    assert!(report.duration_s() < whole as f64 / 1e9, "what was not recorded counts as time");
}

#[test]
fn recordings_of_the_same_sockets_are_refused() {
    let parts = || {
        vec![
            part("one.twt", machine("web-1", 7, WALL_NS, SECOND_NS)),
            part("other.twt", machine("web-1", 11, WALL_NS, 3 * SECOND_NS)),
        ]
    };
    let error = report_of(parts()).unwrap_err().to_string();
    assert!(error.starts_with("one.twt and other.twt were recorded at the same time"), "{error}");
}
