//! What a recording says of its own time and of what changed meanwhile, and how it ends where not all of its end can be written.

mod disk;
mod reader;

use std::path::{Path, PathBuf};

use super::*;
use crate::diagnose::gather::Rhythm;
use crate::host::worker::Died;
use crate::model::event::Kind;
use crate::model::settings::Settings;
use crate::present::live::fixture::{CLIENT, SECOND_NS};
use crate::present::record::command::Parting;
use crate::present::record::output::{Destination, Rotation};
use crate::recording::{Ended, Recording, Tail};

fn recorder(path: &Path, every: Option<Duration>) -> Recorder {
    watching(path, every, 1, None)
}

fn watching(path: &Path, every: Option<Duration>, netns: u32, rhythm: Option<Rhythm>) -> Recorder {
    let rotation = Rotation { every, ..Rotation::default() };
    let destination = Destination { path: path.to_owned(), force: false, rotation, owner: None };
    recorder_of(Output::open(destination).unwrap(), netns, rhythm)
}

fn recorder_of(output: Output, netns: u32, rhythm: Option<Rhythm>) -> Recorder {
    let setup = Setup {
        filters: Vec::new(),
        netns: vec![netns],
        command: None,
        cgroup: None,
        settle: Duration::ZERO,
        rhythm,
    };
    Recorder::new(output, setup).unwrap()
}

/// A clock that is later by so many seconds.
fn later(clock: Clock, by_s: u64) -> Clock {
    Clock { mono_ns: clock.mono_ns + by_s * SECOND_NS, wall_ns: clock.wall_ns + (by_s * SECOND_NS) as i64 }
}

fn read(path: PathBuf) -> (Head, Tail) {
    let recording = Recording::open(&path).unwrap();
    let head = recording.head().clone();
    match recording.end() {
        Ended::Complete(tail) => (head, *tail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recording_ends_when_the_trace_did_and_not_when_its_end_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    let mut recorder = recorder(&path, None);
    // What comes after the trace takes no time here, so the trace is put into the past.
    let began = Clock { mono_ns: SECOND_NS, wall_ns: 1_000 * SECOND_NS as i64 };
    recorder.begin(began).unwrap();
    recorder.ending();
    let until = later(began, 4);
    recorder.finish(&Summary::of_nothing(until)).unwrap();
    let (head, tail) = read(path);
    assert_eq!((head.mono_ns, tail.mono_ns, tail.wall_ns), (began.mono_ns, until.mono_ns, until.wall_ns));
}

#[test]
fn a_part_ends_where_the_next_begins_and_none_begins_after_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(&dir.path().join("a.twt"), Some(Duration::from_secs(7)));
    let mut tracker = Tracker::new();
    let began = Clock::read();
    recorder.begin(began).unwrap();
    let mut event = CLIENT.event(Kind::Created, began.mono_ns as f64 / 1e9, 40_007);
    tracker.apply(&mut event);
    recorder.event(&event).unwrap();
    recorder.tick(&mut tracker, began.mono_ns + 8 * SECOND_NS).unwrap();
    recorder.ending();
    recorder.tick(&mut tracker, began.mono_ns + 80 * SECOND_NS).unwrap();
    // The end is that of the trace, but of no part before its own beginning.
    recorder.finish(&Summary::of_nothing(began)).unwrap();
    let (_, first) = read(dir.path().join("a.0.twt"));
    let (head, last) = read(dir.path().join("a.1.twt"));
    assert_eq!(first.stop, Stop::Rotated);
    assert_eq!((first.mono_ns, first.wall_ns), (head.mono_ns, head.wall_ns));
    assert_eq!((last.mono_ns, last.wall_ns), (head.mono_ns, head.wall_ns));
    assert!(!dir.path().join("a.2.twt").exists());
}

/// The own namespace can be asked without privilege. It is not set to anything here: what is known of it is made to be of before it was.
#[test]
fn settings_that_changed_are_those_of_the_part_in_which_that_was_seen_and_of_all_later_ones() {
    let own = crate::host::net::netns::own_inode().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let every = Some(Duration::from_secs(7));
    let mut recorder = watching(&dir.path().join("a.twt"), every, own, Some(Rhythm::RECORDING));
    let mut tracker = Tracker::new();
    let began = Clock::read();
    recorder.begin(began).unwrap();
    let known = recorder.known.get_mut(&own).unwrap();
    let now = known.sysctls.replace(Settings::of_range(40_007, 40_009));
    let deadline = Instant::now() + Duration::from_secs(30);
    while recorder.beside.as_ref().unwrap().settings().is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    recorder.tick(&mut tracker, began.mono_ns + 8 * SECOND_NS).unwrap();
    recorder.ending();
    recorder.finish(&Summary::of_nothing(Clock::read())).unwrap();
    let range = |told: &[Namespace]| {
        let settings = told.iter().find(|told| told.netns == own)?.sysctls.clone()?;
        settings.port_range
    };
    let want = now.and_then(|now| now.port_range);
    let (_, first) = read(dir.path().join("a.0.twt"));
    let (head, _) = read(dir.path().join("a.1.twt"));
    assert!(want.is_some());
    assert_eq!((range(&first.namespaces), range(&head.namespaces)), (want, want));
}

/// The moment at which a trace ends is taken after the first of these calls.
#[test]
fn what_the_end_tells_is_asked_when_it_is_near_and_waited_for_once_the_trace_is_over() {
    let own = crate::host::net::netns::own_inode().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    let mut recorder = watching(&path, None, own, Some(Rhythm::RECORDING));
    recorder.begin(Clock::read()).unwrap();
    recorder.ending();
    assert!(recorder.beside.is_some() && recorder.again.is_some());
    recorder.finish(&Summary::of_nothing(Clock::read())).unwrap();
    let (_, tail) = read(path);
    assert!(tail.lists.is_some() && tail.namespaces.iter().any(|told| told.counters.is_some()));
}

#[test]
fn that_nobody_looks_beside_any_more_is_an_error_and_whoever_tries_again_has_somebody() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = watching(&dir.path().join("a.twt"), None, 1, Some(Rhythm::RECORDING));
    let mut tracker = Tracker::new();
    let began = Clock::read();
    recorder.begin(began).unwrap();
    recorder.tick(&mut tracker, began.mono_ns).unwrap();
    recorder.beside = Some(Beside::dead());
    let deadline = Instant::now() + Duration::from_secs(30);
    let ticks = std::iter::repeat_with(|| recorder.tick(&mut tracker, began.mono_ns));
    let died = ticks.take_while(|_| Instant::now() < deadline).find_map(Result::err);
    let died = died.expect("its death is heard of").downcast::<Died>().unwrap();
    assert_eq!((died.name, died.why.as_str()), ("doctor", "no such list"));
    let destination = Destination {
        path: dir.path().join("b.twt"),
        force: false,
        rotation: Rotation::default(),
        owner: None,
    };
    recorder.go_on_in(Output::open(destination).unwrap(), &tracker).unwrap();
    assert!(recorder.beside.is_some());
    recorder.tick(&mut tracker, began.mono_ns).unwrap();
}

#[test]
fn an_end_that_cannot_be_written_leaves_the_last_batch_and_is_said_once_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    let mut recorder = recorder(&path, None);
    recorder.begin(Clock { mono_ns: 1, wall_ns: 2 }).unwrap();
    for sport in 0..17 {
        recorder.event(&CLIENT.event(Kind::Created, 3.0, 40_000 + sport)).unwrap();
    }
    let huge = Namespace { name: Some("x".repeat(65 << 20)), ..Namespace::default() };
    let error = recorder.write_end(&Tail { namespaces: vec![huge], ..Tail::default() }).unwrap_err();
    let said = format!("{:#}", anyhow::Error::from(error));
    let file = format!("{}: what it says at its end takes ", path.display());
    assert!(said.starts_with(&file) && said.matches("takes").count() == 1, "{said}");
    assert!(said.contains("; remedy: "), "{said}");
    recorder.leave_off();
    let mut recording = Recording::open(&path).unwrap();
    assert_eq!(recording.events().count(), 17);
    assert!(matches!(recording.end(), Ended::Missing { .. }));
}
