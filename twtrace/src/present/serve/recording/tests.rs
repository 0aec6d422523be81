//! What becomes of a recording whose files cannot be written.

use std::path::Path;
use std::sync::mpsc;

use nix::sys::stat::Mode;

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

/// Ticks at `now_ns` and whenever it is due from then on, until `is_done`: what is done beside is heard of a moment later.
fn tick_until(
    recording: &mut Recording,
    tracker: &mut Tracker,
    now_ns: u64,
    is_done: impl Fn(State) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(60);
    recording.tick(tracker, now_ns);
    while !is_done(recording.state()) {
        assert!(Instant::now() < deadline, "{:?}", recording.state());
        std::thread::yield_now();
        recording.tick(tracker, now_ns.max(recording.retry_at_ns));
    }
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
    tick_until(&mut recording, &mut tracker, now_ns, |state| !state.is_up);
    let state = recording.state();
    assert_eq!((state.is_up, state.failures, state.events, state.missed), (false, 1, 0, 17));
    tell(&mut recording, &mut tracker, 19);
    // It is tried no sooner than it said, and each time later.
    let mut pauses = Vec::new();
    for failures in 2..5 {
        let due_ns = recording.due_ns().unwrap();
        recording.tick(&mut tracker, due_ns - 1);
        assert!(matches!(&recording.retry, Some(Ok(Retry { is_asked: false, .. }))));
        pauses.push(recording.pause);
        tick_until(&mut recording, &mut tracker, due_ns, |state| state.failures == failures);
    }
    assert_eq!(pauses, [2, 4, 8].map(Duration::from_secs));
    std::fs::create_dir(&folder).unwrap();
    tick_until(&mut recording, &mut tracker, u64::MAX, |state| state.is_up);
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
fn a_disk_that_hangs_when_it_is_tried_again_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut recording = recording(dir.path());
    recording.begin(Clock::read());
    recording.settle(Err(io::Error::other("the disk is full")));
    // Opening it hangs until somebody reads.
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    recording.destination =
        Destination { path: path.clone(), force: false, rotation: Rotation::default(), owner: None };
    let (done, ticked) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..7 {
            recording.tick(&mut Tracker::new(), recording.due_ns().unwrap());
            recording.event(&CLIENT.event(Kind::Created, 3.0, 40_000));
        }
        drop(done.send(recording));
    });
    let mut recording = ticked.recv_timeout(Duration::from_secs(60)).expect("it waits for the disk");
    let state = recording.state();
    assert_eq!((state.is_up, state.failures, state.missed), (false, 1, 7));
    let reader = std::thread::spawn(|| std::fs::read(path));
    tick_until(&mut recording, &mut Tracker::new(), 0, |state| state.is_up);
    recording.finish(&Summary::of_nothing(Clock::read())).unwrap();
    assert!(!reader.join().unwrap().unwrap().is_empty());
}

#[test]
fn a_file_that_came_to_nothing_goes_before_those_that_are_kept_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    for number in 8..11 {
        std::fs::write(dir.path().join(format!("a.{number}.twt")), "").unwrap();
    }
    let mut recording = recording(dir.path());
    recording.begin(Clock::read());
    for failures in 1..4 {
        recording.settle(Err(io::Error::other("the disk is full")));
        assert_eq!(recording.state().failures, failures);
        tick_until(&mut recording, &mut Tracker::new(), 0, |state| state.is_up);
        assert_eq!(names(dir.path()), ["a.10.twt", "a.11.twt", "a.9.twt"]);
    }
    recording.settle(Err(io::Error::other("the disk is full")));
    recording.finish(&Summary::of_nothing(Clock::read())).unwrap();
    assert_eq!(names(dir.path()), ["a.10.twt", "a.9.twt"]);
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
