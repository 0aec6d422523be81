//! Live, in a replay and in a report, the same events come to the same JSON, field by field, because they are counted in one place.

use std::io::Cursor;

use serde_json::{Map, Value};

use crate::engine::{self, Tracker};
use crate::present::live::{Frame, json_line};
use crate::present::report::sample::{Sample, sample};
use crate::present::report::{By, Options, json, read};
use crate::recording::Recording;

/// Tables, and what names their rows.
const TABLES: [(&str, &[&str]); 6] = [
    ("processes", &["pid", "comm"]),
    ("tuples", &["netns", "saddr", "daddr", "dport"]),
    ("peers", &["daddr"]),
    ("ports", &["netns", "sport"]),
    ("containers", &["container"]),
    ("netns", &["netns"]),
];

/// What each means in its own way: rates are over windows or over all, ports are of now or of the worst time, a name of a process stands
/// beside its pid or alone; findings are about the last ten seconds or about all.
const OWN: [&str; 8] =
    ["created_per_s", "ended_per_s", "ports", "main", "meaning", "comm", "container", "findings"];

fn live(tracker: &Tracker, sample: &Sample) -> Value {
    let frame = Frame {
        snapshot: tracker.snapshot(engine::By::ALL),
        backend: "tracepoint",
        slab_bytes: None,
        clock: sample.head.clock(),
        limitations: Vec::new(),
        recorded: None,
    };
    let mut out = Vec::new();
    json_line(&frame, &mut out);
    serde_json::from_slice(&out).unwrap()
}

/// The events as a recording has them, one by one.
fn replayed(sample: &Sample, bytes: Vec<u8>) -> Tracker {
    let mut recording = Recording::read(Cursor::new(bytes), "sample").unwrap();
    let mut tracker = Tracker::new();
    tracker.advance(sample.head.mono_ns);
    for mut event in recording.events() {
        tracker.apply(&mut event);
    }
    tracker.advance(sample.tail.mono_ns);
    tracker
}

fn reported(bytes: Vec<u8>) -> Value {
    let options = Options { by: By::ALL.to_vec(), ..Options::default() };
    let report = read(Recording::read(Cursor::new(bytes), "sample").unwrap(), &options).unwrap();
    let mut out = Vec::new();
    json::line(&report, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// Compares the fields that both have; says how many those are.
fn compare(what: &str, one: &Map<String, Value>, two: &Map<String, Value>) -> usize {
    let is_table = |key: &str| TABLES.iter().any(|(table, _)| *table == key);
    let is_own = |key: &str| OWN.contains(&key) || is_table(key);
    let both = one.iter().filter(|(key, _)| !is_own(key) && two.contains_key(*key));
    let both: Vec<_> = both.collect();
    for (key, value) in &both {
        assert_eq!(&two[*key], *value, "{what}: {key}");
    }
    both.len()
}

fn rows<'a>(all: &'a Value, table: &str) -> Vec<&'a Map<String, Value>> {
    all[table].as_array().unwrap().iter().filter_map(Value::as_object).collect()
}

#[test]
fn the_json_of_all_three_says_the_same() {
    let sample = sample(5003);
    let bytes = sample.bytes(97, true);
    let (live, replay) = (live(&sample.tracker, &sample), live(&replayed(&sample, bytes.clone()), &sample));
    let report = reported(bytes);
    for key in live.as_object().unwrap().keys() {
        // A recording says what a namespace allows in its head, which is not replayed here.
        if !["findings", "hottest", "fullest", "tuples", "processes", "netns"].contains(&key.as_str()) {
            assert_eq!(replay[key], live[key], "{key}");
        }
    }
    let total = report.as_object().unwrap();
    let mut same = compare("total", live.as_object().unwrap(), total);
    assert!(same >= 14, "too little to compare: {same}");
    for (table, names) in TABLES {
        let (mine, theirs) = (rows(&live, table), rows(&report, table));
        assert_eq!(mine.len(), theirs.len(), "{table}");
        for row in mine {
            let is_it = |other: &&&Map<String, Value>| {
                // The host is null here, and has no name there.
                let named =
                    |row: &Map<String, Value>, name: &str| row.get(name).filter(|it| !it.is_null()).cloned();
                names.iter().all(|name| named(row, name) == named(other, name))
            };
            let found: Vec<_> = theirs.iter().filter(is_it).collect();
            assert_eq!(found.len(), 1, "{table}: {row:?}");
            let count = compare(table, row, found[0]);
            assert!(count >= 14, "{table}: too little to compare: {count}");
            same += count;
        }
    }
    assert!(same > 14 * 20, "{same}");
}
