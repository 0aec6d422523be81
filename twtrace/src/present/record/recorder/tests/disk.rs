//! A recording whose disk hangs, for good or for a while: nobody waits for it, and each event is in the recording or counted.

use std::sync::mpsc;

use bytes::Bytes;

use super::reader::{LIMIT, beside, births, end, tell, tell_until_lost};
use super::*;
use crate::output::{Turn, Units};

/// A recorder, and its file, which hangs until the other end is gone.
fn hung(dir: &Path, every: Option<Duration>) -> (Recorder, PathBuf, mpsc::Sender<()>) {
    let path = dir.join("a.twt");
    let rotation = Rotation { every, ..Rotation::default() };
    let destination = Destination { path: path.clone(), force: false, rotation, owner: None };
    let mut recorder = recorder_of(Output::open_for(destination, LIMIT).unwrap(), 1, None);
    // Another file begins where the clock has been set, too.
    let now = Clock::read();
    let wall_ns = now.wall_ns - now.mono_ns as i64 + SECOND_NS as i64;
    recorder.begin(Clock { mono_ns: SECOND_NS, wall_ns }).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let hangs: Turn = Box::new(move |_| {
        let _ = gate.recv();
        Ok(None)
    });
    recorder.output.writer().put_always(Some(hangs), Bytes::new(), Units::None).unwrap();
    (recorder, path, go)
}

fn events(path: &Path) -> (Vec<Event>, Ended) {
    let mut recording = Recording::open(path).unwrap();
    let events = recording.events().collect();
    (events, recording.end())
}

#[test]
fn a_disk_that_hangs_is_not_waited_for_and_what_it_has_not_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, path, go) = hung(dir.path(), None);
    let (told, unwritten, ended) = beside(move || {
        let mut told = 0;
        assert!(tell_until_lost(&mut recorder, &mut told) > 0, "all of {told} were taken");
        let (unwritten, ended) = end(&mut recorder, Instant::now());
        (told, unwritten, ended)
    });
    let error = ended.unwrap_err();
    let said = error.to_string();
    let want = format!(
        "{}: it does not take fast enough what is written to it: {told} events are not written, and the end is missing; remedy: ",
        path.display()
    );
    assert!(error.kind() == io::ErrorKind::TimedOut && said.starts_with(&want), "{said}");
    assert_eq!(unwritten, told);
    let (events, ended) = events(&path);
    assert!(events.is_empty() && matches!(ended, Ended::Missing { .. }), "{ended:?}");
    drop(go);
}

#[test]
fn a_disk_that_goes_on_has_all_that_there_was_room_for_and_no_file_begins_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, path, go) = hung(dir.path(), Some(Duration::from_secs(7)));
    let (told, unwritten, ended) = beside(move || {
        let mut told = 0;
        tell_until_lost(&mut recorder, &mut told);
        let mut tracker = Tracker::new();
        for later in 8..17 {
            recorder.tick(&mut tracker, later * SECOND_NS).unwrap();
        }
        assert_eq!((recorder.output.part(), recorder.due_ns()), (0, None), "nothing is to be done");
        assert_eq!(recorder.written(), 0);
        drop(go);
        recorder.output.writer().settle(Instant::now() + Duration::from_secs(50));
        recorder.tick(&mut tracker, 17 * SECOND_NS).unwrap();
        assert_eq!(recorder.output.part(), 1);
        tell(&mut recorder, &mut told);
        let (unwritten, ended) = end(&mut recorder, Instant::now() + Duration::from_secs(50));
        (told, unwritten, ended)
    });
    ended.unwrap();
    let part = |number: u64| events(&path.with_file_name(format!("a.{number}.twt")));
    let [(first, first_end), (second, second_end)] = [part(0), part(1)];
    assert!(matches!((first_end, second_end), (Ended::Complete(_), Ended::Complete(_))));
    assert!(unwritten > 0 && births(&second) > 0);
    assert_eq!(births(&first) + births(&second) + unwritten, told);
}

#[test]
fn a_part_tells_what_it_lost_though_there_is_room_since_a_moment_ago_only() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, path, go) = hung(dir.path(), Some(Duration::from_secs(7)));
    let mut told = 0;
    let unwritten = tell_until_lost(&mut recorder, &mut told);
    drop(go);
    recorder.output.writer().settle(Instant::now() + Duration::from_secs(50));
    // Nobody has looked since.
    recorder.rotate(&Tracker::new()).unwrap();
    let (_, ended) = end(&mut recorder, Instant::now() + Duration::from_secs(50));
    ended.unwrap();
    for (number, want) in [(0, unwritten), (1, 0)] {
        let (events, ended) = events(&path.with_file_name(format!("a.{number}.twt")));
        let lost: u64 = events.iter().filter_map(|event| Some(event.loss.as_ref()?.unwritten)).sum();
        let Ended::Complete(tail) = ended else { panic!("{ended:?}") };
        assert_eq!((lost, tail.lost.unwritten), (want, unwritten), "part {number}");
    }
}

#[test]
fn an_event_that_hears_first_that_a_queue_that_was_full_has_failed_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _, go) = hung(dir.path(), None);
    let mut told = 0;
    assert!(tell_until_lost(&mut recorder, &mut told) > 0, "all of {told} were taken");
    let full: Turn = Box::new(|_| Err(io::ErrorKind::StorageFull.into()));
    recorder.output.writer().put_always(Some(full), Bytes::new(), Units::None).unwrap();
    drop(go);
    recorder.output.writer().settle(Instant::now() + Duration::from_secs(50));
    for kind in [Kind::Created, Kind::Listed, Kind::Ended] {
        let error = recorder.event(&CLIENT.event(kind, 3.0, 40_000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    let accounted = recorder.written() + recorder.unread() + recorder.give_up();
    assert_eq!(accounted, told + 2);
}
