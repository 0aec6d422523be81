//! A recording whose reader has stopped, for good or for a while: nobody waits for it, each event is in the recording or counted, and what it
//! did get can be read.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use super::*;

/// As much may wait in these tests, and as much is in the pipe: a hundredth of what it is.
pub(super) const LIMIT: usize = 1 << 16;
/// Events between two looks at the recorder.
const AT_A_TIME: u64 = 1009;
/// More than all that waits can hold.
const PLENTY: u64 = 4_000_037;

/// What `work` gives. It runs beside the test: where it waits for a reader, it never ends.
pub(super) fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || drop(done.send(work())));
    let Ok(value) = ended.recv_timeout(Duration::from_secs(60)) else {
        assert!(!thread.is_finished(), "it panicked");
        panic!("it waits for a reader");
    };
    value
}

/// A recorder that writes to a FIFO, and the end that nobody reads yet.
fn unread(dir: &Path) -> (Recorder, File) {
    let path = dir.join("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let destination = Destination { path, force: false, rotation: Rotation::default(), owner: None };
    let output = Output::open_for(destination, LIMIT).unwrap();
    let mut recorder = recorder_of(output, 1, None);
    recorder.begin(Clock { mono_ns: SECOND_NS, wall_ns: 0 }).unwrap();
    (recorder, reader)
}

/// What the engine does with events: so many more, and whatever time says.
pub(super) fn tell(recorder: &mut Recorder, told: &mut u64) {
    for _ in 0..AT_A_TIME {
        let mut event = CLIENT.event(Kind::Created, 1.0, (*told % 60_013) as u16);
        event.mono_ns = SECOND_NS + *told * 7919;
        event.cookie = Some(told.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        recorder.event(&event).unwrap();
        *told += 1;
    }
    recorder.tick(&mut Tracker::new(), SECOND_NS + *told * 7919 + BATCH_NS).unwrap();
}

pub(super) fn tell_until_lost(recorder: &mut Recorder, told: &mut u64) -> u64 {
    while recorder.unread() == 0 && *told < PLENTY {
        tell(recorder, told);
    }
    recorder.unread()
}

/// What the engine says of a loss, of which it has said so much.
fn tell_of_loss(recorder: &mut Recorder, reported: &mut u64, told: u64) {
    let unwritten = recorder.unread() - *reported;
    let mut event = Event::new(Kind::Lost, SECOND_NS + told * 7919, None);
    event.loss = Some(Box::new(Loss { unwritten, ..Loss::default() }));
    recorder.event(&event).unwrap();
    *reported += unwritten;
}

pub(super) fn births(events: &[Event]) -> u64 {
    events.iter().filter(|event| event.kind == Kind::Created).count() as u64
}

/// What the engine does at the end, and what the command does then.
pub(super) fn end(recorder: &mut Recorder, until: Instant) -> (u64, io::Result<Parting>) {
    recorder.ending();
    recorder.ended(&Tracker::new());
    let writer = recorder.output().unwrap();
    writer.settle(until);
    if !writer.is_idle() {
        writer.finish(Instant::now());
    }
    let (unwritten, until_clock) = (recorder.unread(), Clock { mono_ns: 2 * SECOND_NS, wall_ns: 7 });
    let loss = Loss { unwritten, ..Loss::default() };
    let summary = Summary { loss, reader_until: Some(until), ..Summary::of_nothing(until_clock) };
    (unwritten, recorder.finish(&summary))
}

fn recording(bytes: Vec<u8>) -> (Vec<Event>, Ended) {
    let mut recording = Recording::read(io::Cursor::new(bytes), "a pipe").unwrap();
    let events = recording.events().collect();
    (events, recording.end())
}

#[test]
fn a_reader_that_stopped_is_not_waited_for_and_what_it_has_is_a_recording() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, mut reader) = unread(dir.path());
    let (told, unwritten, ended) = beside(move || {
        let mut told = 0;
        let unread = tell_until_lost(&mut recorder, &mut told);
        assert!(unread > 0, "all of {told} were taken");
        tell_of_loss(&mut recorder, &mut 0, told);
        let (unwritten, ended) = end(&mut recorder, Instant::now());
        (told, unwritten, ended)
    });
    let error = ended.unwrap_err();
    let said = error.to_string();
    let want = format!("fifo: it is not read fast enough: {unwritten} events are not written, and the end");
    assert!(error.kind() == io::ErrorKind::TimedOut && said.contains(&want), "{said}");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    let (events, ended) = recording(bytes);
    assert!(matches!(ended, Ended::Missing { .. }), "{ended:?}");
    assert!(!events.is_empty() && unwritten > 0);
    assert_eq!(births(&events) + unwritten, told);
}

#[test]
fn what_there_was_no_room_for_is_told_as_lost_once_there_is_and_the_recording_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, mut reader) = unread(dir.path());
    let (read, events) = mpsc::channel();
    let (told, unwritten, ended) = beside(move || {
        let mut told = 0;
        let mut reported = 0;
        for _ in 0..3 {
            tell_until_lost(&mut recorder, &mut told);
            tell(&mut recorder, &mut told);
            tell_of_loss(&mut recorder, &mut reported, told);
        }
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(read.send(reader.read_to_end(&mut bytes).map(|_| bytes)));
        });
        let later = Instant::now() + Duration::from_secs(50);
        recorder.output().unwrap().settle(later);
        tell(&mut recorder, &mut told);
        let (unwritten, ended) = end(&mut recorder, later);
        (told, unwritten, ended)
    });
    ended.unwrap();
    let (events, ended) = recording(events.recv().unwrap().unwrap());
    let lost: u64 = events.iter().filter_map(|event| Some(event.loss.as_ref()?.unwritten)).sum();
    assert!(unwritten > 0 && lost == unwritten, "{lost} of {unwritten}");
    assert_eq!(births(&events) + unwritten, told);
    let Ended::Complete(tail) = ended else { panic!("{ended:?}") };
    assert_eq!((tail.lost.unwritten, tail.events), (unwritten, events.len() as u64));
}

#[test]
fn the_end_is_waited_for_as_long_as_the_reader_may_take() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, mut reader) = unread(dir.path());
    // More than a pipe holds.
    recorder.know(&[Namespace { name: Some("x".repeat(100_003)), ..Namespace::default() }]);
    recorder.ending();
    let (tx, rx) = mpsc::channel();
    let late = std::thread::spawn(move || {
        rx.recv().unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = beside(move || {
        let summary = Summary::of_nothing(Clock { mono_ns: 2 * SECOND_NS, wall_ns: 7 });
        tx.send(()).unwrap();
        recorder.finish(&summary)
    });
    ended.unwrap();
    assert!(matches!(recording(late.join().unwrap().unwrap()).1, Ended::Complete(_)));
}

#[test]
fn who_has_read_the_end_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, mut reader) = unread(dir.path());
    tell(&mut recorder, &mut 0);
    let reading = std::thread::spawn(move || {
        // As a reader of Arrow does, which knows the end by its mark.
        let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
        while !bytes.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]) {
            let count = reader.read(&mut some).unwrap();
            bytes.extend_from_slice(&some[..count]);
        }
        bytes
    });
    let (_, ended) = end(&mut recorder, Instant::now() + Duration::from_secs(50));
    ended.unwrap();
    assert!(matches!(recording(reading.join().unwrap()).1, Ended::Complete(_)));
}
