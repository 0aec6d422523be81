//! What becomes of a recording whose files cannot be written.

use std::path::Path;
use std::time::Instant;

use super::*;
use crate::host::net::netns::{cookie_here, own_inode};
use crate::present::live::fixture::{CLIENT, SECOND_NS};
use crate::present::record::output::Rotation;
use crate::recording::Recording as Recorded;

fn recording(dir: &Path) -> Recording {
    recording_of(1, dir)
}

fn recording_of(netns: u32, dir: &Path) -> Recording {
    let rotation =
        Rotation { every: Some(Duration::from_secs(7)), keep: Some(3), resumes: true, ..Rotation::default() };
    let destination = Destination { path: dir.join("a.twt"), force: false, rotation, owner: None };
    let setup = Setup {
        filters: Vec::new(),
        netns: vec![netns],
        command: None,
        cgroup: None,
        settle: Duration::ZERO,
        rhythm: None,
    };
    Recording::new(destination, setup).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn one_that_cannot_be_written_is_tried_again_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("rec");
    std::fs::create_dir(&folder).unwrap();
    let mut recording = recording(&folder);
    let mut tracker = Tracker::new();
    recording.attached("tracepoint");
    recording.begin(Clock::read());
    let tell = |recording: &mut Recording, tracker: &mut Tracker, count: u16| {
        for sport in 0..count {
            let mut event = CLIENT.event(Kind::Created, 3.0, 40_000 + sport);
            tracker.apply(&mut event);
            recording.event(&event);
        }
    };
    tell(&mut recording, &mut tracker, 17);
    // Bytes of a file without a name are lost, and the next file has no folder to be made in.
    std::fs::remove_dir_all(&folder).unwrap();
    let now_ns = clock::mono_ns() + 8 * SECOND_NS;
    let deadline = Instant::now() + Duration::from_secs(60);
    // It is heard of a moment later.
    while recording.is_up && Instant::now() < deadline {
        recording.tick(&mut tracker, now_ns);
    }
    let state = recording.state();
    assert_eq!((state.is_up, state.failures, state.events, state.missed), (false, 1, 0, 17));
    tell(&mut recording, &mut tracker, 19);
    // It is tried no sooner than it said, and each time later.
    let mut pauses = Vec::new();
    for failures in 2..5 {
        let due_ns = recording.due_ns().unwrap();
        recording.tick(&mut tracker, due_ns - 1);
        assert_eq!(recording.state().failures, failures - 1);
        pauses.push(recording.pause);
        recording.tick(&mut tracker, due_ns);
        assert_eq!(recording.state().failures, failures);
    }
    assert_eq!(pauses, [2, 4, 8].map(Duration::from_secs));
    std::fs::create_dir(&folder).unwrap();
    recording.tick(&mut tracker, u64::MAX);
    tell(&mut recording, &mut tracker, 23);
    assert_eq!(recording.state().events, 0, "a counter tells of what cannot be taken back");
    recording.tick(&mut tracker, clock::mono_ns());
    while recording.state().events != 23 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let state = recording.state();
    assert_eq!((state.is_up, state.failures, state.events, state.missed), (true, 4, 23, 17 + 19));
    tell(&mut recording, &mut tracker, 29);
    recording.settle(Err(io::Error::other("the disk is full")));
    let state = recording.state();
    assert_eq!((state.is_up, state.events, state.missed), (false, 23, 17 + 19 + 29));
    assert_eq!(names(&folder), ["a.0.twt"]);
}

#[test]
fn settings_of_the_next_namespace_with_the_inode_are_not_recorded() {
    let own = own_inode().unwrap();
    let Some(cookie) = cookie_here() else { return };
    for (cookie, want) in [(cookie, 1), (cookie + 1, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let mut recording = recording_of(own, dir.path());
        let mut tracker = Tracker::new();
        tracker.expect_netns([(own, cookie)].into());
        recording.listed(&tracker);
        recording.attached("tracepoint");
        recording.begin(Clock::read());
        recording.ending();
        recording.finish(&Summary::of_nothing(Clock::read())).unwrap();
        let read = Recorded::open(&dir.path().join("a.0.twt")).unwrap();
        assert_eq!(read.head().namespaces.len(), want);
    }
}
