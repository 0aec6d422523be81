//! What becomes of a recording whose files cannot be written, or not as fast as events come.

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use nix::sys::stat::Mode;

use super::*;
use crate::host::net::netns::{cookie_here, own_inode};
use crate::model::event::{Kind, Loss};
use crate::output::{Turn, Units};
use crate::present::live::fixture::{CLIENT, SECOND_NS};
use crate::present::record::output::Rotation;
use crate::recording::{Ended, Recording as Recorded, Tail};

/// As much may wait where a disk is too slow: a hundredth of what it is.
const LIMIT: usize = 1 << 16;
/// More than all that waits then can hold.
const PLENTY: u64 = 4_000_037;

fn recording(dir: &Path) -> Recording {
    recording_of(1, dir)
}

fn recording_of(netns: u32, dir: &Path) -> Recording {
    Recording::new(destination(dir), setup(netns)).unwrap()
}

fn destination(dir: &Path) -> Destination {
    let rotation =
        Rotation { every: Some(Duration::from_secs(7)), keep: Some(3), resumes: true, ..Rotation::default() };
    Destination { path: dir.join("a.twt"), force: false, rotation, owner: None }
}

fn setup(netns: u32) -> Setup {
    Setup {
        filters: Vec::new(),
        netns: vec![netns],
        command: None,
        cgroup: None,
        settle: Duration::ZERO,
        rhythm: None,
    }
}

/// Events that a trace tells it, and what was lost by the kernel side meanwhile.
struct Trace {
    tracker: Tracker,
    told: u64,
    loss: Loss,
}

impl Trace {
    fn tell(&mut self, recording: &mut Recording, count: u64) {
        let began_ns = clock::mono_ns();
        for n in 0..count {
            let mut event = CLIENT.event(Kind::Created, 3.0, (self.told % 60_013) as u16);
            event.mono_ns = began_ns + n;
            event.cookie = Some(self.told.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            recording.event(&event);
            self.told += 1;
        }
        // The batch is old enough by then, and the file is not.
        recording.tick(&mut self.tracker, began_ns + SECOND_NS);
    }

    fn lose(&mut self, recording: &mut Recording, created: u64) {
        let mut event = Event::new(Kind::Lost, clock::mono_ns(), None);
        event.loss = Some(Box::new(Loss { created, ..Loss::default() }));
        self.tracker.apply(&mut event);
        recording.event(&event);
        self.loss.created += created;
    }

    /// While its disk hangs, tells it more than there is room for; returns how much it has missed so far.
    fn tell_too_much(&mut self, recording: &mut Recording) -> u64 {
        let (go, gate) = mpsc::channel::<()>();
        let hangs: Turn = Box::new(move |_| {
            let _ = gate.recv();
            Ok(None)
        });
        let before = recording.state().missed;
        recording.recorder.output().unwrap().put_always(Some(hangs), Bytes::new(), Units::None).unwrap();
        while recording.state().missed == before && self.told < PLENTY {
            self.tell(recording, 1009);
        }
        assert!(recording.state().missed > before, "all of {} were taken", self.told);
        self.lose(recording, 7);
        self.tell(recording, 17);
        drop(go);
        recording.recorder.output().unwrap().settle(Instant::now() + Duration::from_secs(60));
        recording.state().missed
    }

    fn finish(self, recording: Recording) {
        let summary = Summary { loss: self.loss, ..Summary::of_nothing(Clock::read()) };
        recording.finish(&summary).unwrap();
    }
}

/// A recording for which less may wait, begun, and its trace. Its first file is a.1.twt.
fn with_little_room(dir: &Path) -> (Recording, Trace) {
    let mut recording = recording(dir);
    let output = Output::open_for(destination(dir), LIMIT).unwrap();
    recording.recorder = Recorder::new(output, setup(1)).unwrap();
    recording.begin(Clock::read());
    (recording, Trace { tracker: Tracker::new(), told: 0, loss: Loss::default() })
}

/// Births in a file, what its rows say was lost, and its end.
fn read(path: &Path) -> (u64, Loss, Tail) {
    let mut recorded = Recorded::open(path).unwrap();
    let (mut births, mut lost, mut last_ns) = (0, Loss::default(), 0);
    for event in recorded.events() {
        assert!(event.mono_ns >= last_ns, "{:?} is not in its place", event.kind);
        last_ns = event.mono_ns;
        births += u64::from(event.kind == Kind::Created);
        lost = event.loss.iter().fold(lost, |lost, loss| lost.and(loss));
    }
    match recorded.end() {
        Ended::Complete(tail) => (births, lost, *tail),
        other => panic!("{other:?}"),
    }
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

#[test]
fn what_a_disk_was_too_slow_for_is_told_as_lost_by_the_file_that_has_it_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recording, mut trace) = with_little_room(dir.path());
    let first = trace.tell_too_much(&mut recording);
    // Another file begins at once.
    recording.tick(&mut trace.tracker, clock::mono_ns() + 8 * SECOND_NS);
    let told_first = trace.told;
    // Once it goes on, and once the end comes at once.
    trace.tell_too_much(&mut recording);
    trace.tell(&mut recording, 13);
    let second = trace.tell_too_much(&mut recording) - first;
    let told_second = trace.told - told_first;
    assert!(recording.is_slow, "nobody was told");
    let state = recording.state();
    assert_eq!((state.missed, state.events + state.missed), (first + second, trace.told));
    trace.finish(recording);
    let lost = |unwritten, created| Loss { unwritten, created, ..Loss::default() };
    let (births, rows, tail) = read(&dir.path().join("a.1.twt"));
    assert_eq!((births + first, rows, tail.lost), (told_first, lost(first, 7), lost(first, 7)));
    let (births, rows, tail) = read(&dir.path().join("a.2.twt"));
    assert_eq!(births + second, told_second);
    assert_eq!((rows, tail.lost), (lost(second, 14), lost(first + second, 21)));
}

#[test]
fn what_was_lost_before_a_recording_began_anew_is_not_lost_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recording, mut trace) = with_little_room(dir.path());
    let missed = trace.tell_too_much(&mut recording);
    recording.settle(Err(io::Error::other("the disk is full")));
    trace.lose(&mut recording, 11);
    tick_until(&mut recording, &mut trace.tracker, 0, |state| state.is_up);
    trace.lose(&mut recording, 13);
    trace.tell(&mut recording, 19);
    assert_eq!(recording.state().missed, missed);
    trace.finish(recording);
    let (births, rows, tail) = read(&dir.path().join("a.2.twt"));
    let lost = Loss { created: 13, ..Loss::default() };
    assert_eq!((births, rows, tail.lost), (19, lost, lost));
}

#[test]
fn a_trace_that_failed_leaves_what_was_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut recording = recording(dir.path());
    recording.begin(Clock::read());
    for sport in 0..17 {
        recording.event(&CLIENT.event(Kind::Created, 3.0, 40_000 + sport));
    }
    recording.leave_off();
    let mut recorded = Recorded::open(&dir.path().join("a.0.twt")).unwrap();
    assert_eq!(recorded.events().count(), 17);
    assert!(matches!(recorded.end(), Ended::Missing { .. }));
}
