//! A trace and its clients, without any tracing.

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use super::{Answers, Server, ask};
use crate::engine::{Limits, Live, Tracker};
use crate::present::live::fixture::busy;
use crate::recording::Ended;

/// A trace for as long as `work` takes; says how often the trace itself was asked, besides.
fn beside<T: Send>(dir: &Path, tracker: &Tracker, work: impl FnOnce() -> T + Send) -> (T, usize) {
    let (done, over) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut server = Server::start(dir, "tracepoint").unwrap();
    std::thread::scope(|scope| {
        let working = scope.spawn(move || {
            let worked = work();
            let _ = done.send(());
            worked
        });
        let asked = runtime.block_on(async {
            tokio::pin!(over);
            let mut asked = 0;
            loop {
                tokio::select! {
                    _ = &mut over => return asked,
                    question = server.question() => {
                        asked += 1;
                        question.answer(tracker);
                    }
                }
            }
        });
        drop(server);
        (working.join().unwrap(), asked)
    })
}

/// Answers `clients`, one after the other.
fn answered(dir: &Path, tracker: &Tracker, clients: usize) -> Vec<Answers> {
    beside(dir, tracker, || (0..clients).map(|_| ask(dir)).collect()).0
}

#[test]
fn many_clients_at_once_are_all_answered_and_share_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("twtrace");
    let (tracker, _) = busy(Limits::default());
    let (all, asked) = beside(&dir, &tracker, || {
        // These never read, and cost nobody anything.
        let silent: Vec<_> = (0..307).map(|_| super::server::connect(&dir)).collect();
        let all: Vec<Answers> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..97).map(|_| scope.spawn(|| ask(&dir))).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        drop(silent);
        all
    });
    for Answers { mut recordings, notes } in all {
        assert_eq!((recordings.len(), notes), (1, Vec::new()));
        let mut recording = recordings.pop().unwrap();
        assert!(recording.events().count() > 7);
        assert!(matches!(recording.end(), Ended::Complete(_)));
    }
    assert!((1..97).contains(&asked), "asked {asked} times for 404 clients");
}

/// A trace that is too busy to answer, and one that has no room: neither keeps a client for long, and both are said.
#[test]
fn a_trace_that_does_not_answer_is_said_after_a_short_while() {
    let dir = tempfile::tempdir().unwrap();
    let deaf = StdListener::bind(dir.path().join("1-1.sock")).unwrap();
    let began = std::time::Instant::now();
    let Answers { recordings, notes } = ask(dir.path());
    assert!(recordings.is_empty() && notes[0].contains("did not answer within 2 s"), "{notes:?}");
    // Not a matter of speed: whoever waits for the answer waits for ever.
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    drop(deaf);
    let closing = StdListener::bind(dir.path().join("1-2.sock")).unwrap();
    std::fs::remove_file(dir.path().join("1-1.sock")).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let closer = std::thread::spawn(move || {
        closing.set_nonblocking(true).unwrap();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            drop(closing.accept());
            std::thread::yield_now();
        }
    });
    let Answers { recordings, notes } = ask(dir.path());
    drop(stop);
    closer.join().unwrap();
    assert!(recordings.is_empty() && notes[0].contains("it is busy"), "{notes:?}");
}

#[test]
fn a_client_learns_whose_every_live_socket_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("twtrace");
    let (tracker, _) = busy(Limits::default());
    for Answers { mut recordings, notes } in answered(&dir, &tracker, 3) {
        assert_eq!((recordings.len(), notes), (1, Vec::new()));
        let mut recording = recordings.pop().unwrap();
        assert_eq!(recording.head().backend, "tracepoint");
        let mut told = Tracker::new();
        recording.events().for_each(|mut event| drop(told.apply(&mut event)));
        assert!(matches!(recording.end(), Ended::Complete(_)));
        for (conn, live) in tracker.sockets() {
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
    assert!(!dir.exists(), "nothing is left behind");
}

#[test]
fn a_trace_that_was_killed_is_no_answer_and_is_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("7-1.sock");
    drop(StdListener::bind(&left).unwrap());
    let Answers { recordings, notes } = ask(dir.path());
    assert_eq!((recordings.len(), notes.len()), (0, 0));
    assert!(left.exists());
    let (tracker, _) = busy(Limits::default());
    assert_eq!(answered(dir.path(), &tracker, 1)[0].recordings.len(), 1);
    assert!(!left.exists());
}

#[test]
fn where_strangers_may_write_nobody_is_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let Answers { recordings, notes } = ask(dir.path());
    assert!(recordings.is_empty() && notes[0].contains("others than root and you"), "{notes:?}");
    assert!(Server::start(dir.path(), "tracepoint").is_err());
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
