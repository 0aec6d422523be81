//! A trace and its visitors, without any tracing.

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use super::{Answers, Desk, ask};
use crate::live::fixture::busy;
use crate::recording::Ended;
use crate::tracker::{Limits, Live, Tracker};

/// Answers `visitors`, one after the other, while they ask.
fn answered(place: &Path, world: &Tracker, visitors: usize) -> Vec<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let desk = Desk::open(place).unwrap();
        let place = place.to_owned();
        let asking = std::thread::spawn(move || (0..visitors).map(|_| ask(&place)).collect());
        for _ in 0..visitors {
            let visitor = desk.visitor().await.unwrap();
            while desk.is_busy() {
                tokio::task::yield_now().await;
            }
            desk.answer(visitor, "tracepoint", world).unwrap();
        }
        asking.join().unwrap()
    })
}

#[test]
fn a_visitor_learns_whose_every_live_socket_is() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("twtrace");
    let (world, _) = busy(Limits::default());
    for Answers { mut recordings, notes } in answered(&place, &world, 3) {
        assert_eq!((recordings.len(), notes), (1, Vec::new()));
        let mut recording = recordings.pop().unwrap();
        assert_eq!(recording.head().backend, "tracepoint");
        let mut told = Tracker::new();
        recording.events().for_each(|mut event| drop(told.apply(&mut event)));
        assert!(matches!(recording.end(), Ended::Complete(_)));
        for (conn, live) in world.sockets() {
            let known = told.sockets().find(|(known, _)| *known == conn).map(|(_, live)| live);
            // Those that were there before have no owner to tell.
            assert_eq!(known.is_some(), live.born_ns.is_some(), "{conn:?}");
            let Some(known) = known else { continue };
            let who = |live: &Live| {
                let owner = live.owner.map(|owner| (owner.pid, owner.uid, owner.comm.text().into_owned()));
                (owner, live.via, live.opener.map(|opener| opener.pid))
            };
            assert_eq!(who(&known), who(&live));
            assert_eq!((known.cookie, known.ends_ns, known.role), (live.cookie, live.ends_ns, live.role));
        }
    }
    assert!(!place.exists(), "nothing is left behind");
}

#[test]
fn a_trace_that_was_killed_is_no_answer_and_is_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("7-1.sock");
    drop(StdListener::bind(&left).unwrap());
    let Answers { recordings, notes } = ask(dir.path());
    assert_eq!((recordings.len(), notes.len()), (0, 0));
    assert!(left.exists());
    let (world, _) = busy(Limits::default());
    assert_eq!(answered(dir.path(), &world, 1)[0].recordings.len(), 1);
    assert!(!left.exists());
}

#[test]
fn where_strangers_may_write_nobody_is_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let Answers { recordings, notes } = ask(dir.path());
    assert!(recordings.is_empty() && notes[0].contains("others than root and you"), "{notes:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { assert!(Desk::open(dir.path()).is_err()) });
    assert!(ask(&dir.path().join("none")).notes.is_empty(), "no trace is nothing to speak of");
}

#[test]
fn what_is_no_trace_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let listener = StdListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        use std::io::Write as _;
        listener.accept().unwrap().0.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    });
    let Answers { recordings, notes } = ask(dir.path());
    other.join().unwrap();
    assert!(recordings.is_empty() && notes[0].contains("is no recording"), "{notes:?}");
}
