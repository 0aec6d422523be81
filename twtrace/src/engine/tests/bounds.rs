//! What happens at the engine's bounds: nothing is miscounted, and what is not told apart is said.

use super::script::{Script, client, server};
use crate::engine::{By, Dropped, Figures, Limits, Snapshot, Tracker};
use crate::model::event::Reason;

const PEERS: [&str; 5] = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"];

fn limited(change: impl FnOnce(&mut Limits)) -> Script {
    let mut limits = Limits::default();
    change(&mut limits);
    Script::new(Tracker::with_limits(limits))
}

fn others(snapshot: &Snapshot, by: By) -> Option<(u64, u64, u64)> {
    let tally = |figures: &Figures| (figures.live, figures.counts.created, figures.counts.ended());
    snapshot.others.iter().find(|(table, _)| *table == by).map(|(_, figures)| tally(figures))
}

#[test]
fn what_was_quiet_longest_makes_room_and_is_counted_among_the_others() {
    let mut script = limited(|limits| limits.groups = 3);
    for pid in 1..=3 {
        script.at(f64::from(pid)).born(&client(pid, PEERS[0], 443), [40_000 + pid as u16]);
    }
    script.at(4.0).ended(&client(2, PEERS[0], 443), [40_002], Reason::Expired);
    script.at(5.0).ended(&client(1, PEERS[0], 443), [40_001], Reason::Expired);
    script.at(6.0).born(&client(4, PEERS[0], 443), [40_004]);
    let snapshot = script.tracker.snapshot(By::ALL);
    let mut pids: Vec<u32> = snapshot.processes.iter().map(|row| row.key.pid).collect();
    pids.sort_unstable();
    // Half of the room is made: 1 and 2 go.
    assert_eq!((pids, others(&snapshot, By::Process)), (vec![3, 4], Some((0, 2, 2))));
    assert_eq!(snapshot.dropped, Dropped { rows: 2, events: 4, sockets: 0 });
    assert_eq!((snapshot.netns[0].figures.live, snapshot.netns[0].figures.counts.created), (2, 4));
    assert_eq!((snapshot.total.live, snapshot.total.counts.ended()), (2, 2));
}

#[test]
fn who_lives_stays_and_the_rest_is_in_a_row_of_others() {
    let mut script = limited(|limits| limits.groups = 2);
    for pid in 1..=5 {
        script.born(&client(pid, PEERS[0], 443), [40_000 + pid as u16, 41_000 + pid as u16]);
    }
    let snapshot = script.tracker.snapshot(By::ALL);
    assert_eq!((snapshot.processes.len(), snapshot.total.live, snapshot.tuples[0].figures.live), (2, 10, 4));
    assert_eq!([By::Process, By::Tuple].map(|by| others(&snapshot, by)), [Some((6, 6, 0)); 2]);
    assert_eq!(snapshot.dropped, Dropped { rows: 0, events: 6, sockets: 0 });
    // Ends of sockets among the others take nothing from anybody.
    for pid in 1..=5 {
        script.ended(&client(pid, PEERS[0], 443), [40_000 + pid as u16], Reason::Expired);
    }
    let snapshot = script.tracker.snapshot(By::ALL);
    assert_eq!(snapshot.processes.iter().map(|row| row.figures.live).collect::<Vec<_>>(), [1, 1]);
    assert_eq!((snapshot.total.live, others(&snapshot, By::Process)), (5, Some((3, 6, 3))));
    // Once there is room, the next event of the others finds it.
    script.at(9.0).ended(&client(1, PEERS[0], 443), [41_001], Reason::Expired);
    script.born(&client(5, PEERS[0], 443), [42_005]);
    let snapshot = script.tracker.snapshot(&[By::Process]);
    let rows: Vec<_> = snapshot.processes.iter().map(|row| (row.key.pid, row.figures.live)).collect();
    assert_eq!((rows, snapshot.dropped.rows, snapshot.total.live), (vec![(2, 1)], 1, 5));
}

#[test]
fn ends_among_the_others_number_nothing() {
    let mut script = limited(|limits| limits.groups = 2);
    for (pid, peer) in (1..=5).zip(PEERS) {
        script.born(&client(pid, peer, 443), [40_000 + pid as u16]);
    }
    script.ended(&client(1, PEERS[0], 443), [40_001], Reason::Expired);
    script.at(9.0).born(&client(6, PEERS[1], 443), [40_006]);
    let numbered = |script: &Script| script.tracker.engine.addresses.len();
    let before = numbered(&script);
    for (pid, peer) in (3..=5).zip(&PEERS[2..]) {
        script.ended(&client(pid, peer, 443), [40_000 + pid as u16], Reason::Expired);
    }
    assert_eq!((script.tracker.total().ended(), numbered(&script)), (4, before));
}

/// Numbers of texts and addresses are new ones after that: what lives is told as before.
#[test]
fn making_room_changes_nothing_of_what_stays() {
    let mut script = limited(|limits| limits.groups = 95);
    script.capacity((40_000, 40_099));
    let told = |script: &Script| {
        let snapshot = script.tracker.snapshot(By::ALL);
        let row = |pid: u32| snapshot.processes.iter().find(|row| row.key.pid == pid).cloned();
        let tuples: Vec<_> = snapshot.tuples.iter().filter(|row| row.figures.live != 0).cloned().collect();
        (row(7), row(9), tuples, snapshot.hottest, snapshot.total.live, snapshot.total.counts.created)
    };
    let docker = format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
    for pid in 100..190 {
        script.born(&client(pid, PEERS[1], 443), [41_000]);
        script.ended(&client(pid, PEERS[1], 443), [41_000], Reason::Expired);
    }
    script.at(1.0).born(&client(7, PEERS[0], 443).in_cgroup(&docker), 40_000..40_013);
    script.born(&server(9, PEERS[2]), [80]).born(&client(11, PEERS[3], 80), 40_000..40_005);
    let before = told(&script);
    assert!(before.0.is_some() && before.1.is_some() && before.2.len() == 2);
    for pid in 200..203 {
        script.born(&client(pid, PEERS[1], 443), [41_000]);
        script.ended(&client(pid, PEERS[1], 443), [41_000], Reason::Expired);
    }
    let again = told(&script);
    assert!(script.tracker.dropped().rows >= 40, "nothing had to go: {:?}", script.tracker.dropped());
    assert_eq!(
        (again.0, again.1, again.2, again.3, again.4),
        (before.0, before.1, before.2, before.3, before.4)
    );
    script.ended(&client(7, PEERS[0], 443), 40_000..40_013, Reason::Expired);
    // What births of before were numbered by is no more.
    script.born(&client(11, PEERS[3], 80), [40_007]);
    let snapshot = script.tracker.snapshot(&[By::Process]);
    let row = |pid| snapshot.processes.iter().find(|row| row.key.pid == pid).unwrap();
    assert_eq!((row(11).figures.live, row(11).figures.counts.created), (6, 6));
    let row = row(7);
    assert_eq!((row.figures.live, row.figures.peak_live, row.figures.counts.ended()), (0, 13, 13));
    assert_eq!(row.identity.as_ref().and_then(|identity| identity.cgroup.clone()), Some(docker));
    assert_eq!(snapshot.hottest.unwrap().pressure.unwrap().in_use, 6);
}

#[test]
fn processes_that_are_gone_make_room_without_a_word() {
    let mut script = limited(|limits| limits.groups = 7);
    for pid in 1..=7 {
        script.born(&client(pid, PEERS[0], 443), [40_000]).ended(
            &client(pid, PEERS[0], 443),
            [40_000],
            Reason::Expired,
        );
    }
    let gone = script.tracker.present();
    script.tracker.mark_gone(&gone);
    script.at(100.0).born(&client(8, PEERS[0], 443), [40_000]);
    let snapshot = script.tracker.snapshot(By::ALL);
    assert_eq!(snapshot.processes.iter().map(|row| row.key.pid).collect::<Vec<_>>(), [8]);
    assert_eq!((snapshot.dropped, others(&snapshot, By::Process)), (Dropped::default(), None));
    assert_eq!(snapshot.tuples[0].figures.counts.created, 8, "what they did is not forgotten");
}

/// Paths of cgroups may be as long as the kernel lets paths be, and then the last ones do not fill all of the room.
#[test]
fn long_texts_make_room_as_well() {
    let mut script = limited(|_| {});
    let long = |at: u32| format!("/{at:05}{}", "/long".repeat(810));
    let passes = |script: &mut Script, pid: u32| {
        let who = client(pid, PEERS[0], 443).in_cgroup(&long(pid));
        script.born(&who, [40_000]).ended(&who, [40_000], Reason::Expired);
    };
    (1..=6_500).for_each(|pid| passes(&mut script, pid));
    script.at(60.0);
    passes(&mut script, 7_001);
    assert!(script.tracker.dropped().rows > 0, "nothing had to go");
    assert!(
        script.tracker.engine.texts.find(long(7_001).as_str()).is_some(),
        "its cgroup is one of the others"
    );
}

#[test]
fn every_kind_of_row_is_bounded() {
    let mut script = limited(|limits| limits.rows = 23);
    for (at, peer) in (0_u16..).zip(PEERS) {
        let cgroup = format!("/system.slice/docker-{}{at}.scope", "0123456789abcde".repeat(4) + "abc");
        script.at(f64::from(at)).born(&client(11, peer, 443).in_cgroup(&cgroup), [40_000]);
        script.born(&server(13, peer), [80 + at]);
    }
    let snapshot = script.tracker.snapshot(By::ALL);
    let rows =
        snapshot.tuples.len() + snapshot.peers.len() + snapshot.ports.len() + snapshot.containers.len();
    assert!(rows < 20, "{rows}");
    assert!(others(&snapshot, By::Peer).is_some());
    assert_eq!((snapshot.total.counts.created, snapshot.total.live), (10, 10));
    assert_eq!(snapshot.netns[0].figures.live, 10);
}

#[test]
fn sockets_beyond_the_bound_are_counted_but_not_followed() {
    let mut script = limited(|limits| limits.sockets = 7);
    let wrk = client(11, PEERS[0], 443);
    script.born(&wrk, 40_000..40_011);
    // The same connection again takes no more room.
    script.born(&wrk, [40_003]);
    let snapshot = script.tracker.snapshot(&[By::Process]);
    assert_eq!(
        (snapshot.total.live, snapshot.processes[0].figures.live, snapshot.dropped.sockets),
        (7, 7, 4)
    );
    script.ended(&wrk, 40_000..40_011, Reason::Expired);
    let snapshot = script.tracker.snapshot(&[By::Process]);
    assert_eq!((snapshot.total.live, snapshot.processes[0].figures.live), (0, 0));
    let counts = &snapshot.total.counts;
    assert_eq!((counts.ended_for(Reason::Expired), counts.ended_for(Reason::Missed)), (11, 1));
    assert_eq!((counts.created, counts.listed), (12, 0), "none of them is told a second time");
    // One that nobody told of is.
    script.ended(&wrk, [40_011], Reason::Expired);
    assert_eq!(script.tracker.snapshot(&[]).total.counts.listed, 1);
}
