//! A writer and readers of every kind: one that reads, one that is slow to begin, one that stops, one that goes away.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake};

use nix::fcntl::{FcntlArg, fcntl};

use super::writing::PAGE;
use super::*;

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn pipe() -> (File, OwnedFd) {
    let (read, write) = nix::unistd::pipe().unwrap();
    (File::from(read), write)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Pieces of seven lines each, of different lengths.
fn piece(number: u64) -> (Bytes, u64) {
    let lines =
        (0..7).map(|line| format!("{number}.{line} {}\n", "x".repeat((number as usize * 31 + line) % 97)));
    (lines.collect::<String>().into(), 7)
}

#[test]
fn whoever_reads_gets_every_line_in_order() {
    let (mut read, write) = pipe();
    let writer = Writer::start("test", write, 1 << 20).unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        read.read_to_string(&mut all).unwrap();
        all
    });
    let mut want = String::new();
    for number in 0..1009 {
        let (bytes, lines) = piece(number);
        want.push_str(std::str::from_utf8(&bytes).unwrap());
        wait(writer.room_for(1));
        assert!(writer.put(bytes, Units::Lines(lines)).unwrap());
    }
    wait(writer.emptied());
    assert_eq!(writer.finish(later()), 0);
    drop(writer);
    assert_eq!(reader.join().unwrap(), want);
}

#[test]
fn what_a_reader_that_stopped_does_not_get_is_counted_to_the_line() {
    let (mut read, write) = pipe();
    fcntl(&write, FcntlArg::F_SETPIPE_SZ(1 << 16)).unwrap();
    let writer = Writer::start("test", write, 1 << 16).unwrap();
    let mut given = 0;
    while writer.unwritten() == 0 {
        let (bytes, lines) = piece(given);
        writer.put(bytes, Units::Lines(lines)).unwrap();
        given += lines;
    }
    assert!(writer.error().is_none());
    let unwritten = writer.finish(Instant::now() + Duration::from_millis(100));
    drop(writer);
    let mut got = String::new();
    read.read_to_string(&mut got).unwrap();
    let whole = got.bytes().filter(|byte| *byte == b'\n').count() as u64;
    assert!(unwritten > 7 && whole > 0);
    assert_eq!(whole + unwritten, given);
}

#[test]
fn what_is_settled_can_be_read_and_what_nobody_reads_waits_on() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (_read, full) = pipe();
    fcntl(&full, FcntlArg::F_SETPIPE_SZ(1 << 12)).unwrap();
    let writers = [file.reopen().unwrap().into(), full].map(|fd| Writer::start("test", fd, 1 << 20).unwrap());
    for writer in &writers {
        assert!(writer.put(vec![b'\n'; 1 << 16].into(), Units::Lines(1 << 16)).unwrap());
    }
    writers[0].settle(later());
    assert_eq!(file.as_file().metadata().unwrap().len(), 1 << 16);
    writers[1].settle(Instant::now());
    assert!(!writers[1].is_idle());
    assert_eq!(writers[1].unwritten(), 0);
    let [of_file, of_reader] = writers.each_ref().map(Writer::slow);
    assert!(of_file.contains("written") && of_reader.contains("read"), "{of_file}; {of_reader}");
}

#[test]
fn a_reader_that_goes_away_is_heard_of_at_once() {
    let (read, write) = pipe();
    let writer = Writer::start("test", write, 1 << 16).unwrap();
    drop(read);
    wait(writer.broken());
    assert_eq!(writer.error().unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(writer.put("7\n".into(), Units::Lines(1)).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn who_has_read_all_may_go_and_who_has_not_cuts_it_off() {
    for has_all in [true, false] {
        let (mut read, write) = pipe();
        fcntl(&write, FcntlArg::F_SETPIPE_SZ(1 << 12)).unwrap();
        let writer = Writer::start("test", write, 1 << 16).unwrap();
        assert!(writer.put(Bytes::from(vec![7; 8191]), Units::One).unwrap());
        let mut some = vec![0; if has_all { 8191 } else { 41 }];
        read.read_exact(&mut some).unwrap();
        drop(read);
        wait(writer.broken());
        assert_eq!((writer.is_cut(), writer.unwritten()), (!has_all, u64::from(!has_all)));
    }
}

#[test]
fn a_piece_that_is_longer_than_the_limit_is_taken_when_nothing_else_waits() {
    let (mut read, write) = pipe();
    let writer = Writer::start("test", write, 16).unwrap();
    let long = "y".repeat(100_003) + "\n";
    assert!(writer.put(long.clone().into(), Units::One).unwrap());
    assert!(!writer.put("z\n".into(), Units::One).unwrap(), "there is no room now");
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        read.read_to_string(&mut all).unwrap();
        all
    });
    wait(writer.emptied());
    assert_eq!(writer.finish(later()), 1);
    drop(writer);
    assert_eq!(reader.join().unwrap(), long);
}

#[test]
fn a_full_device_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let writer = Writer::start("test", full.into(), 1 << 16).unwrap();
    writer.put("7\n".into(), Units::Lines(1)).unwrap();
    wait(writer.broken());
    let error = writer.error().unwrap();
    assert_eq!((error.kind(), writer.unwritten()), (io::ErrorKind::StorageFull, 1));
    assert!(error.to_string().starts_with("test: "), "{error}");
}

/// How often a future was woken for.
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_for_a_failure_is_not_woken_for_what_is_written() {
    let (mut read, write) = pipe();
    let writer = Writer::start("test", write, 1 << 20).unwrap();
    let woken = Arc::new(Woken(AtomicU32::new(0)));
    let waker = Arc::clone(&woken).into();
    let mut broken = std::pin::pin!(writer.broken());
    let mut context = Context::from_waker(&waker);
    assert!(broken.as_mut().poll(&mut context).is_pending());
    for number in 1..=13_u8 {
        let piece = vec![number; PAGE + 1];
        assert!(writer.put(piece.clone().into(), Units::One).unwrap());
        let mut got = vec![0; piece.len()];
        read.read_exact(&mut got).unwrap();
        wait(writer.emptied());
        assert_eq!((got, woken.0.load(Ordering::Relaxed)), (piece, 0));
    }
    drop(read);
    wait(writer.broken());
    assert!(broken.as_mut().poll(&mut context).is_ready());
}

#[test]
fn what_is_done_between_pieces_is_done_in_order_and_may_lead_elsewhere() {
    let [first, second] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    let writer = Writer::whole("test", first.reopen().unwrap().into(), 16, "first".to_owned()).unwrap();
    let fd = second.reopen().unwrap().into();
    let turn: Turn = Box::new(move |before| {
        assert_eq!(nix::sys::stat::fstat(before).unwrap().st_size, 7);
        Ok(Some(Next { fd, name: "second".to_owned() }))
    });
    for (turn, bytes) in [(None, "1234567"), (Some(turn), "89"), (None, "10")] {
        assert!(writer.put_always(turn, bytes.into(), Units::Whole(1)).unwrap());
    }
    writer.settle(later());
    assert_eq!((writer.written(), writer.name()), (11, "second".to_owned()));
    assert_eq!(writer.finish(later()), 0);
    let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
    assert_eq!((read(&first), read(&second)), ("1234567".to_owned(), "8910".to_owned()));
}

#[test]
fn what_goes_wrong_between_pieces_is_why_nothing_is_written_any_more() {
    let ways: [(Turn, _); 2] = [
        (Box::new(|_| Err(io::Error::other("a.7.twt: it is no file"))), "a.7.twt: it is no file"),
        (Box::new(|_| panic!("no such turn")), "a.6.twt: the thread that writes to it ended too early"),
    ];
    for (turn, want) in ways {
        let file = tempfile::tempfile().unwrap().into();
        let writer = Writer::whole("test", file, 1 << 16, "a.6.twt".to_owned()).unwrap();
        assert!(writer.put_always(Some(turn), "7".into(), Units::Whole(97)).unwrap());
        wait(writer.broken());
        assert_eq!(writer.error().unwrap().to_string(), want);
        assert_eq!((writer.unwritten(), writer.written()), (97, 0));
    }
}

#[test]
fn a_file_that_hangs_is_left_with_what_waits_for_it() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = std::sync::mpsc::channel();
    let hangs: Turn = Box::new(move |_| {
        let _ = begun.send(());
        let _ = gate.recv();
        Ok(None)
    });
    let file = tempfile::tempfile().unwrap().into();
    let writer = Writer::whole("test", file, 16, "a.twt".to_owned()).unwrap();
    assert!(writer.put_always(Some(hangs), "1234567".into(), Units::Whole(97)).unwrap());
    begins.recv().unwrap();
    assert!(writer.has_room(), "a file has no more than its bound");
    assert!(writer.put_always(None, "a longer one of 16".into(), Units::Whole(7)).unwrap());
    assert!(!writer.has_room());
    let deadline = writer.deadline(None).expect("it is not waited for without end");
    assert!(deadline <= Instant::now() + WRITING);
    assert_eq!((writer.finish(Instant::now()), writer.hangs()), (104, true));
    assert!(!writer.put_always(None, "8".into(), Units::Whole(1)).unwrap());
    drop(go);
}
