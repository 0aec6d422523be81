//! What looks at a namespace come to.

use super::*;
use crate::diagnose::facts::Side;
use crate::diagnose::facts::{BindFailure, Netns, Reach, join};
use crate::host::net::sockdiag::TIMER_TIME_WAIT;
use std::net::Ipv4Addr;

const HERE: [u8; 4] = [10, 0, 0, 1];
const THERE: [u8; 4] = [10, 0, 0, 9];

pub(in crate::diagnose::facts) fn socket(
    state: u8,
    timer: u8,
    sport: u16,
    dport: u16,
    inode: u32,
) -> DiagSocket {
    let mapped = |address: [u8; 4]| Ipv4Addr::from(address).to_ipv6_mapped().octets();
    let daddr = if dport == 0 { [0, 0, 0, 0] } else { THERE };
    DiagSocket {
        family: 4,
        is_mapped: false,
        state,
        timer,
        saddr: mapped(HERE),
        daddr: mapped(daddr),
        sport,
        dport,
        ifindex: 0,
        expires_ms: 0,
        uid: 0,
        inode,
        cookie: 0,
    }
}

pub(in crate::diagnose::facts) fn sample(sockets: Vec<DiagSocket>) -> Sample {
    let settings = Settings { port_range: Some((40_000, 40_099)), ports: Some(100), ..Settings::default() };
    let holder = |pid, comm: &str| Process { pid: Some(pid), comm: comm.into(), ..Process::default() };
    let holders = HashMap::from([(97, holder(7, "proxy")), (101, holder(11, "nginx"))]);
    let addresses = HashSet::from([IpAddr::from(HERE)]);
    Sample { netns: 5, settings, sockets, holders, addresses, ..Sample::default() }
}

pub(in crate::diagnose::facts) fn busy() -> Vec<DiagSocket> {
    vec![
        socket(6, TIMER_TIME_WAIT, 40_001, 80, 0),
        socket(6, TIMER_TIME_WAIT, 40_002, 80, 0),
        socket(5, TIMER_TIME_WAIT, 40_003, 80, 0),
        socket(1, 0, 40_004, 80, 97),
        socket(1, 0, 40_005, 80, 97),
        socket(8, 0, 40_006, 80, 97),
        // No port of the range; a listener in the range and a connection on it; a socket that is bound only.
        socket(1, 0, 5000, 80, 97),
        socket(10, 0, 40_050, 0, 101),
        socket(1, 0, 40_050, 80, 101),
        socket(7, 0, 40_060, 0, 97),
    ]
}

fn joined(samples: &Samples) -> Netns {
    let mut netns = Netns { netns: 5, ..Netns::default() };
    netns.binds.push(BindFailure {
        saddr: Some(HERE.into()),
        port: 0,
        failed: 3,
        caller: Process::default(),
        ..BindFailure::default()
    });
    join::join(&mut netns, samples);
    netns
}

#[test]
fn a_sample_tells_what_holds_which_ports() {
    let mut samples = Samples::default();
    samples.take(sample(busy()));
    let netns = joined(&samples);
    assert_eq!(
        (netns.time_wait, netns.fin_wait2, netns.pinned, netns.range_in_use),
        (3, Some(1), Some(2), Some(8))
    );
    let [tuple] = &netns.tuples[..] else { panic!("{:?}", netns.tuples) };
    let want = Ports { time_wait: 2, fin_wait2: 1, established: 2, close_wait: 1, ..Ports::default() };
    assert_eq!(tuple.now, want);
    assert_eq!((tuple.reach, tuple.dport), (Reach::Elsewhere, 80));
    assert_eq!((tuple.shares[0].process.comm.as_str(), tuple.shares[0].open), ("proxy", 3));
    let served = netns.served.iter().find(|served| served.port == 40_050).unwrap();
    assert_eq!((served.listening, served.open, served.shares[0].process.comm.as_str()), (true, 1, "nginx"));
    assert_eq!(netns.binds[0].destinations, 1);
}

#[test]
fn a_sample_after_a_failure_is_kept_before_a_fuller_one() {
    let mut samples = Samples::default();
    samples.take(sample(busy()));
    assert!(samples.crowd.is_empty());
    samples.take(Sample { is_asked: true, ..sample(vec![socket(6, TIMER_TIME_WAIT, 40_001, 80, 0)]) });
    samples.take(sample(busy()));
    let kept: Vec<_> = samples.crowd.iter().map(|seen| (seen.port, seen.state, seen.is_pin)).collect();
    assert_eq!(kept, [(40_001, State::TimeWait, false)]);
}

#[test]
fn who_listens_where_a_call_had_failed_is_whoever_did_so_then() {
    let (waits, listens) = (socket(6, TIMER_TIME_WAIT, 8080, 80, 0), socket(10, 0, 8080, 0, 101));
    let asked = |sockets: &[&DiagSocket]| {
        let sockets = sockets.iter().map(|socket| DiagSocket { ..**socket }).collect();
        Sample { is_asked: true, ..sample(sockets) }
    };
    let both = |first: Sample, then: Sample| {
        let mut samples = Samples::default();
        samples.take(first);
        samples.take(then);
        let local = &samples.locals[&8080];
        assert!(!local.listening || local.holders.keys().all(|process| process.comm == "nginx"));
        local.listening
    };
    let later = |socket: &DiagSocket| sample(vec![DiagSocket { ..*socket }]);
    assert!(!both(asked(&[&waits]), later(&listens)), "whoever got the port at last was not in the way");
    assert!(both(asked(&[&listens]), later(&waits)), "whoever let go of it was");
    assert!(both(later(&waits), asked(&[&listens])) && !both(later(&listens), asked(&[&waits])));
    let other = socket(10, 0, 8080, 0, 97);
    assert!(both(asked(&[&listens]), later(&other)), "and not who listens by now");
    let mut samples = Samples::default();
    samples.take(later(&waits));
    samples.take(asked(&[]));
    samples.take(later(&other));
    assert!(!samples.locals[&8080].listening, "nobody was there when it failed");
}

#[test]
fn what_waits_for_seconds_is_a_pile_and_what_passes_is_none() {
    let socket = |state, cookie, inode| DiagSocket { cookie, ..socket(state, 0, 40_001, 80, inode) };
    let mut samples = Samples::default();
    for (mono_ms, sockets) in [
        (1000, vec![socket(8, 7, 97), socket(8, 9, 97), socket(5, 11, 97), socket(5, 13, 0)]),
        (2000, vec![socket(8, 7, 97), socket(8, 17, 97), socket(5, 11, 97), socket(5, 13, 0)]),
        (3500, vec![socket(8, 7, 97), socket(8, 17, 97), socket(1, 11, 97), socket(5, 13, 0)]),
    ] {
        samples.take(Sample { mono_ms, ..sample(sockets) });
    }
    let piles = samples.piles.all();
    let [pile] = &piles[..] else { panic!("{piles:?}") };
    assert_eq!((pile.state, pile.count, pile.longest_ms), (State::CloseWait, 1, 2500));
    assert_eq!((pile.side, pile.shares[0].process.pid), (Side::To(THERE.into(), 80), Some(7)));
    samples.take(Sample { mono_ms: 4000, ..sample(vec![socket(1, 19, 97)]) });
    assert_eq!(samples.piles.all(), [], "it was closed after all");
}

#[test]
fn the_fullest_moment_is_kept() {
    let mut samples = Samples::default();
    samples.take(Sample { overflow: 100, ..sample(busy()) });
    samples.take(Sample { overflow: 107, ..sample(vec![socket(6, TIMER_TIME_WAIT, 40_001, 80, 0)]) });
    let netns = joined(&samples);
    assert_eq!((netns.time_wait, netns.peak_time_wait, netns.overflow), (1, 3, 7));
    let tuple = &netns.tuples[0];
    assert_eq!((tuple.now.all(), tuple.peak.all()), (1, 6));
    assert_eq!(tuple.shares[0].open, 3);
}

#[test]
fn looks_begin_afresh_with_what_is_known_to_wait_and_with_the_counters_of_then() {
    let waits = |mono_ms| Sample {
        mono_ms,
        overflow: mono_ms,
        ..sample(vec![DiagSocket { cookie: 7, ..socket(8, 0, 40_001, 80, 97) }])
    };
    let mut samples = Samples::default();
    samples.take(Sample { is_asked: true, ..waits(1000) });
    let mut next = samples.afresh();
    assert!(next.is_empty() && next.afresh().is_empty() && next.crowd.is_empty());
    next.take(waits(3500));
    assert_eq!((next.overflowed(), next.piles.all()[0].longest_ms), (2500, 2500));
}

#[test]
fn of_pools_that_come_and_go_for_days_the_fullest_stay() {
    let mut samples = Samples::default();
    let on = |dport: u16, count: u16| (0..count).map(move |at| socket(1, 0, 40_001 + at, dport, 0));
    samples.take(sample(on(7, 31).collect()));
    for from in (1000..u16::MAX).step_by(997) {
        samples.take(sample((from..from.saturating_add(997)).flat_map(|dport| on(dport, 1)).collect()));
    }
    let key = |dport| TupleKey::from(&socket(1, 0, 40_001, dport, 0).conn(5));
    for index in 0..3_u32 {
        let other = Ipv4Addr::from(0x0a01_0000 + index).to_ipv6_mapped().octets();
        let new = (1000..40_000).map(|dport| DiagSocket { daddr: other, ..socket(1, 0, 40_001, dport, 0) });
        samples.take(sample(new.collect()));
        assert!(samples.tuples.len() <= MOST_POOLS + 39_000, "{}", samples.tuples.len());
    }
    assert_eq!(samples.tuples[&key(7)].peak.all(), 31);
    assert!(samples.tuples.len() <= MOST_POOLS, "{}", samples.tuples.len());
}

#[test]
fn of_a_crowd_without_number_what_is_in_the_way_stays_and_the_rest_is_counted() {
    let mapped = |at: u32| Ipv4Addr::from(0x0a01_0000 + at).to_ipv6_mapped().octets();
    let waits = |at: u32, ports: u16| {
        let to = move |port| DiagSocket { daddr: mapped(at), ..socket(6, TIMER_TIME_WAIT, port, 80, 0) };
        (40_000..40_000 + ports).map(to)
    };
    let crowded = |destinations: u32| {
        let each = (0..destinations).flat_map(|at| waits(at, 97));
        let full = waits(u32::from(u16::MAX), 100);
        let all = each.chain(full).chain([socket(7, 0, 40_099, 0, 97)]);
        Sample { is_asked: true, ..sample(all.collect()) }
    };
    let mut samples = Samples::default();
    samples.take(crowded(1103));
    let all = 1103 * 97 + 101;
    let kept = |samples: &Samples| (samples.crowd.len(), samples.connections.len(), samples.left_out());
    let left_out = LeftOut { crowd: all - 100_000, connections: all - 1 - 100_000, ..LeftOut::default() };
    assert_eq!(kept(&samples), (100_000, 100_000, left_out));
    let full = TupleKey::from(&waits(u32::from(u16::MAX), 1).next().unwrap().conn(5));
    assert_eq!(samples.crowd.iter().filter(|seen| seen.tuple == full).count(), 100);
    assert!(samples.crowd.iter().any(|seen| seen.is_pin) && samples.has_connection(&full, 40_099));
    samples.take(crowded(1097));
    assert_eq!(
        kept(&samples),
        (100_000, 100_000, left_out),
        "the fullest look counts, and not what is kept of it"
    );
    samples.take(crowded(1109));
    assert_eq!(samples.left_out().crowd, left_out.crowd + 6 * 97);
}
