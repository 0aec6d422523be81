//! What happens at the tracker's bounds: nothing is miscounted, and what is dropped is said.

use super::script::{Script, client, server};
use crate::event::Reason;
use crate::tracker::{By, Dropped, Limits, Tracker};

const PEERS: [&str; 5] = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"];

fn limited(change: impl FnOnce(&mut Limits)) -> Script {
    let mut limits = Limits::default();
    change(&mut limits);
    Script::new(Tracker::with_limits(limits))
}

#[test]
fn idle_rows_make_room_and_are_counted() {
    let mut script = limited(|limits| limits.processes = 3);
    for pid in 1..=3 {
        script.at(f64::from(pid)).born(&client(pid, PEERS[0], 443), [40_000 + pid as u16]);
    }
    script.at(4.0).ended(&client(2, PEERS[0], 443), [40_002], Reason::Expired);
    script.at(5.0).ended(&client(1, PEERS[0], 443), [40_001], Reason::Expired);
    script.at(6.0).born(&client(4, PEERS[0], 443), [40_004]);
    let snapshot = script.world.snapshot(&[By::Process]);
    let mut pids: Vec<u32> = snapshot.processes.iter().map(|row| row.key.pid).collect();
    pids.sort_unstable();
    assert_eq!((pids, snapshot.dropped), (vec![1, 3, 4], Dropped { rows: 1, events: 0, sockets: 0 }));
}

#[test]
fn live_rows_stay_and_the_rest_is_only_in_the_head() {
    let mut script = limited(|limits| limits.processes = 2);
    for pid in 1..=5 {
        script.born(&client(pid, PEERS[0], 443), [40_000 + pid as u16, 41_000 + pid as u16]);
    }
    let snapshot = script.world.snapshot(By::ALL);
    assert_eq!((snapshot.processes.len(), snapshot.total.live, snapshot.tuples[0].figures.live), (2, 10, 10));
    assert_eq!(snapshot.dropped, Dropped { rows: 0, events: 6, sockets: 0 });
    // Ends of sockets without a row take nothing from anybody.
    for pid in 1..=5 {
        script.ended(&client(pid, PEERS[0], 443), [40_000 + pid as u16], Reason::Expired);
    }
    let snapshot = script.world.snapshot(By::ALL);
    assert_eq!(snapshot.processes.iter().map(|row| row.figures.live).collect::<Vec<_>>(), [1, 1]);
    assert_eq!((snapshot.total.live, snapshot.tuples[0].figures.live), (5, 5));
    // Once there is room, the next event of the others finds it.
    script.at(1.0).ended(&client(1, PEERS[0], 443), [41_001], Reason::Expired);
    script
        .ended(&client(5, PEERS[0], 443), [41_005], Reason::Expired)
        .born(&client(5, PEERS[0], 443), [42_005]);
    let snapshot = script.world.snapshot(&[By::Process]);
    let rows: Vec<_> = snapshot.processes.iter().map(|row| (row.key.pid, row.figures.live)).collect();
    assert_eq!((rows, snapshot.dropped.rows), (vec![(2, 1), (5, 1)], 1));
}

#[test]
fn every_kind_of_row_is_bounded() {
    let mut script = limited(|limits| {
        (limits.tuples, limits.peers, limits.ports, limits.containers, limits.links) = (2, 2, 2, 2, 2);
    });
    for (at, peer) in (0_u16..).zip(PEERS) {
        let cgroup = format!("/system.slice/docker-{}{at}.scope", "0123456789abcde".repeat(4) + "abc");
        script.at(f64::from(at)).born(&client(11, peer, 443).in_cgroup(&cgroup), [40_000]);
        script.born(&server(13, peer), [80 + at]);
        script.ended(&client(11, peer, 443), [40_000], Reason::Expired).ended(
            &server(13, peer),
            [80 + at],
            Reason::Expired,
        );
    }
    let snapshot = script.world.snapshot(By::ALL);
    let lengths =
        [snapshot.tuples.len(), snapshot.peers.len(), snapshot.ports.len(), snapshot.containers.len()];
    assert_eq!(lengths, [2; 4]);
    assert_eq!((snapshot.total.counts.created, snapshot.total.live, snapshot.dropped.rows), (10, 0, 12));
    assert_eq!(snapshot.netns[0].figures.counts.ended(), 10);
}

#[test]
fn sockets_beyond_the_bound_are_counted_but_not_followed() {
    let mut script = limited(|limits| limits.sockets = 7);
    let wrk = client(11, PEERS[0], 443);
    script.born(&wrk, 40_000..40_011);
    // The same connection again takes no more room.
    script.born(&wrk, [40_003]);
    let snapshot = script.world.snapshot(&[By::Process]);
    assert_eq!(
        (snapshot.total.live, snapshot.processes[0].figures.live, snapshot.dropped.sockets),
        (7, 7, 4)
    );
    script.ended(&wrk, 40_000..40_011, Reason::Expired);
    let snapshot = script.world.snapshot(&[By::Process]);
    assert_eq!((snapshot.total.live, snapshot.processes[0].figures.live), (0, 0));
    let counts = &snapshot.total.counts;
    assert_eq!((counts.ended_for(Reason::Expired), counts.ended_for(Reason::Missed)), (11, 1));
}
