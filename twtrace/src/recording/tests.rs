//! Owns: what must hold of a recording that is written and read again.
//! Must not know: files on a disk, other programs.

mod broken;
pub(crate) mod samples;
mod times;

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::Array as _;

use super::*;
use crate::model::event::{Comm, Event, Kind, Loss, Process};
use crate::model::identity::{Identity, Names, Naming};
use samples::{events, head, recorded, tail};

fn read(bytes: &[u8]) -> Result<Recording, OpenError> {
    Recording::read(Cursor::new(bytes.to_vec()), "sample")
}

#[test]
fn every_event_and_all_around_it_comes_back() {
    let events = events(97);
    let (bytes, ends) = recorded(&events, 13);
    assert_eq!(ends.len(), 8);
    let mut recording = read(&bytes).unwrap();
    assert_eq!(*recording.head(), head());
    assert_eq!(recording.seeds(), []);
    let back: Vec<_> = recording.events().collect();
    for (one, other) in events.iter().zip(&back) {
        assert_eq!(one, other);
    }
    assert_eq!(back.len(), events.len());
    assert_eq!(recording.met(), [Namespace { netns: 5, ..Namespace::default() }]);
    assert_eq!(recording.end(), Ended::Complete(Box::new(Tail { events: 97, ..tail() })));
}

/// The sample above proves something for a column only if it is filled, and left empty, somewhere.
#[test]
fn the_sample_fills_every_column_and_every_kind() {
    let (bytes, _) = recorded(&events(97), 97);
    let batch = read(&bytes).unwrap().next_batch().unwrap();
    let names: Vec<&str> = schema::COLUMNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names);
    let always = ["event", "time", "mono_ns"];
    for (name, column) in names.iter().zip(batch.columns()) {
        let nulls = column.null_count();
        assert!(nulls < 97 && (nulls == 0) == always.contains(name), "{name}: {nulls} nulls of 97");
    }
    let lost = Loss::default().named().map(|(name, _)| format!("lost_{name}"));
    assert_eq!(lost[..schema::LOST.len()], schema::LOST);
    let kinds: BTreeSet<Kind> = events(97).iter().map(|event| event.kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
}

/// A recording of weeks meets more names than anyone wants to hold in memory.
#[test]
fn dictionaries_are_begun_anew_and_nothing_is_mixed_up() {
    let make = |at: u32| {
        let mut event = samples::created(1);
        event.mono_ns += u64::from(at);
        if let Some(owner) = &mut event.owner {
            owner.comm = Comm::new(&format!("n{at}"));
        }
        event
    };
    let events: Vec<Event> = (0..20_011).map(make).collect();
    let (bytes, _) = recorded(&events, 1009);
    let mut recording = read(&bytes).unwrap();
    let dictionary = |batch: &arrow_array::RecordBatch| {
        use arrow_array::cast::AsArray as _;
        let comm = batch.column_by_name("comm").unwrap();
        comm.as_dictionary::<arrow_array::types::Int32Type>().values().len()
    };
    assert!(recording.batches().all(|batch| dictionary(&batch) <= 8192 + 1009));
    let back: Vec<Event> = read(&bytes).unwrap().events().collect();
    assert!(back == events);
}

#[test]
fn a_hundred_thousand_sockets_from_before_come_back_in_order() {
    let many: Vec<_> = (0..3_u16).flat_map(|_| (0..32_767).map(samples::listed)).collect();
    let mut encoder = Encoder::new(&head()).unwrap();
    many.iter().for_each(|event| encoder.append(event));
    encoder.finish(&tail()).unwrap();
    assert!(read(encoder.bytes()).unwrap().events().collect::<Vec<_>>() == many);
    assert!(encoder.bytes().len() < many.len() * 48, "{} bytes", encoder.bytes().len());
}

#[test]
fn nothing_recorded_is_a_whole_recording() {
    let (bytes, _) = recorded(&[], 1);
    let recording = read(&bytes).unwrap();
    assert_eq!(recording.end(), Ended::Complete(Box::new(Tail { events: 0, ..tail() })));
}

/// A container's name may be known a moment after its first event, and a cgroup's id not at all.
#[test]
fn what_becomes_known_within_a_batch_is_said_from_then_on() {
    let mut event = samples::created(1);
    let naming = Naming::default();
    event.identity = Some(Arc::new(Identity { names: naming.clone(), ..(*samples::identity()).clone() }));
    event.owner = event.owner.map(|owner| Process { cgroup_id: 0, ..owner });
    let mut encoder = Encoder::new(&head()).unwrap();
    // More than wait at a time, and not as many again.
    (0..307).for_each(|_| encoder.append(&event));
    naming.set(Names { name: Some("web-1".to_owned()), ..Names::default() });
    (0..11).for_each(|_| encoder.append(&event));
    encoder.finish(&tail()).unwrap();
    let batch = read(encoder.bytes()).unwrap().next_batch().unwrap();
    let nulls = |name: &str| batch.column_by_name(name).unwrap().null_count();
    assert_eq!(["container", "container_name", "cgroup_id", "pid"].map(nulls), [0, 307, 318, 0]);
}

/// Names and values as other programs see them, which is what the interface promises.
#[test]
fn head_and_tail_are_json_that_others_can_read() {
    let (bytes, _) = recorded(&events(7), 7);
    let recording = read(&bytes).unwrap();
    let schema = recording.schema();
    assert_eq!(schema.metadata().get("twtrace.format").map(String::as_str), Some("2"));
    let head: serde_json::Value = serde_json::from_str(&schema.metadata()["twtrace.head"]).unwrap();
    assert_eq!(head["command"]["argv"][0], "ab");
    assert_eq!(head["namespaces"][0]["sysctls"]["ip_local_port_range"][1], 60_999);
    let tail = serde_json::to_value(tail()).unwrap();
    assert_eq!(tail["command"]["exit"]["status"], 3);
    assert_eq!(tail["stop"], "command");
}

/// A later version may say more, in the same format.
#[test]
fn what_is_not_known_is_passed_over() {
    let head: Head = serde_json::from_str(r#"{"host":"h","later":{"x":1}}"#).unwrap();
    assert_eq!(head, Head { host: "h".to_owned(), ..Head::default() });
    let tail: Tail = serde_json::from_str(r#"{"stop":"asteroid","live":3}"#).unwrap();
    assert_eq!((tail.stop, tail.live), (Stop::Other, 3));
}

/// What a reader refuses must not be written: a recording would lose its end.
#[test]
fn a_tail_that_is_too_long_goes_without_lists_and_says_so() {
    let huge = "x".repeat(65 << 20);
    let end = |tail: &Tail| {
        let mut encoder = Encoder::new(&head()).unwrap();
        events(7).iter().for_each(|event| encoder.append(event));
        let ended = encoder.finish(tail);
        let mut recording = read(encoder.bytes()).unwrap();
        assert_eq!(recording.events().count(), 7, "the last batch is there in any case");
        (ended, recording.end())
    };
    let dead = vec![(huge.clone(), String::new(), String::new())];
    let lists = lists::Lists { dead_settings: dead, ..tail().lists.unwrap() };
    let (ended, read) = end(&Tail { lists: Some(lists), ..tail() });
    let limitation = ended.unwrap().unwrap();
    assert!(limitation.why.contains("of which 67108864 at most can be read"), "{limitation}");
    let limitations = [tail().limitations, vec![limitation]].concat();
    let want = Tail { events: 7, limitations, lists: None, ..tail() };
    assert_eq!(read, Ended::Complete(Box::new(want)));

    let namespace = Namespace { name: Some(huge), ..Namespace::default() };
    let (ended, read) = end(&Tail { namespaces: vec![namespace], ..tail() });
    let why = ended.unwrap_err().to_string();
    assert!(why.starts_with("what it says at its end takes 68") && why.contains("remedy: "), "{why}");
    assert!(matches!(read, Ended::Missing { .. }), "{read:?}");
}
