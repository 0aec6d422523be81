//! What a recording keeps of lists says the same as the lists.

use std::collections::BTreeMap;

use super::*;
use crate::diagnose::facts::samples::tests::{busy, sample, socket};
use crate::diagnose::facts::{BindFailure, Facts, Netns, join};
use crate::engine::TupleKey;
use crate::host::net::counters::Counters;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::ports::Ports;
use crate::output::paint::Paint;
use crate::recording::lists::Listed;

/// bind() was refused this port, where it was.
fn failed(refused: Option<(u32, u16)>) -> Failed {
    Failed {
        netns: refused.into_iter().map(|(netns, _)| netns).collect(),
        ports: refused.into_iter().collect(),
        ..Failed::default()
    }
}

/// Two looks, the second of them after a call had failed.
fn looked() -> Samples {
    let pile = (1..=3).map(|cookie| DiagSocket { cookie, ..socket(8, 0, 40_070 + cookie as u16, 443, 97) });
    let sockets = || [busy(), pile.clone().collect()].concat();
    let counters = |n| Some(Counters { syn_retrans: Some(n), orphans: Some(3), ..Counters::default() });
    let mut samples = Samples::default();
    samples.take(Sample { mono_ms: 1000, overflow: 100, counters: counters(7), ..sample(sockets()) });
    samples.take(Sample {
        mono_ms: 9000,
        overflow: 113,
        counters: counters(18),
        is_asked: true,
        enter: Some(String::new()),
        name: Some("blue".into()),
        lists_bound: Some(true),
        timestamps: vec![(TupleKey::from(&sockets()[0].conn(5)), true)],
        conntrack: Some(Conntrack { count: 5, max: 7, time_wait_s: Some(120) }),
        ipvs: Some(Ipvs { services: 2, active: 3, inactive: 5 }),
        ..sample(sockets())
    });
    samples
}

fn joined(samples: &Samples) -> Netns {
    let mut netns = Netns { netns: 5, ..Netns::default() };
    netns.binds.push(BindFailure { port: 40_001, failed: 3, ..BindFailure::default() });
    join::join(&mut netns, samples);
    netns
}

fn read(lists: &Lists, settings: &Settings) -> Samples {
    let text = serde_json::to_string(lists).unwrap();
    let lists: Lists = serde_json::from_str(&text).unwrap();
    samples(&lists, &lists.namespaces[0], settings.clone())
}

#[test]
fn what_was_looked_at_says_the_same_from_a_recording() {
    let looked = looked();
    let lists = keep(&BTreeMap::from([(5, looked)]), &failed(Some((5, 40_001))), Some(2));
    let looked = self::looked();
    let read = read(&lists, &looked.last.settings);
    let netns = joined(&read);
    assert_eq!(netns, joined(&looked));
    assert_eq!((netns.piles[0].count, netns.overflow), (3, 13));
    assert_eq!(netns.counters.unwrap().syn_retrans, Some(11));
    assert!(netns.served.iter().any(|served| served.port == 40_001 && served.time_wait == 1));
    let crowd = |samples: &Samples| {
        let mut all: Vec<_> = samples.crowd.iter().map(|seen| (seen.port, seen.state, seen.is_pin)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(crowd(&read), crowd(&looked));
    assert!(!crowd(&read).is_empty());
    assert_eq!(read.connections, looked.connections);
    assert_eq!(lists.namespaces[0].outside_tw_reuse, None, "it is our own");
}

#[test]
fn ports_that_nobody_asked_for_are_not_kept_and_a_namespace_that_was_not_looked_at_is_none() {
    let all = BTreeMap::from([(5, looked()), (7, looked().afresh())]);
    let lists = keep(&all, &failed(Some((7, 40_001))), Some(2));
    let [listed] = &lists.namespaces[..] else { panic!("{lists:?}") };
    assert_eq!(listed.ports.iter().map(|local| local.port).collect::<Vec<_>>(), [40_050]);
}

/// A namespace with so many connections of which each has a destination of its own, and `full` to one.
fn fanned(netns: u32, count: u32, full: u16) -> Samples {
    let key = |at: u32| TupleKey {
        netns,
        saddr: [10, 0, 0, 1].into(),
        daddr: std::net::Ipv4Addr::from(0x0b00_0000 + at).into(),
        dport: 443,
    };
    let all = || {
        let full = (32_768..32_768 + full).map(|port| (key(0), port));
        (1..=count).map(|at| (key(at), 32_768 + (at % 28_000) as u16)).chain(full)
    };
    let seen =
        |(tuple, port)| SampledSocket { port, tuple, state: State::TimeWait, is_pin: false, who: None };
    let on = |ports| OnTuple { peak: Ports { time_wait: ports, ..Ports::default() }, ..OnTuple::default() };
    Samples {
        last: Sample { netns, ..Sample::default() },
        tuples: (1..=count).map(|at| (key(at), on(1))).chain([(key(0), on(full.into()))]).collect(),
        crowd: all().map(seen).collect(),
        connections: all().collect(),
        ..Samples::default()
    }
}

#[test]
fn what_is_kept_of_all_namespaces_has_an_end_and_what_is_not_is_counted() {
    let mut all: BTreeMap<u32, Samples> =
        (1..=4).map(|netns| (netns, fanned(netns, 50_021, 17_011))).collect();
    all.insert(5, fanned(5, 1009, 7));
    let lists = keep(&all, &Failed { netns: (1..=5).collect(), ..Failed::default() }, None);
    let bytes = serde_json::to_string(&lists).unwrap().len();
    assert!((20 << 20..=crate::diagnose::facts::room::ROOM).contains(&bytes), "{bytes} bytes");
    assert_eq!(lists.namespaces.iter().map(|listed| listed.netns).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (listed, netns) in lists.namespaces.iter().zip(1..=5) {
        let has = &all[&netns];
        let crowd: usize = listed.crowd.iter().map(|crowd| crowd.ports.len()).sum();
        let connections: usize = listed.connections.iter().map(|all| all.ports.len()).sum();
        let sum = LeftOut {
            pools: listed.left_out.pools + listed.pools.len() as u64,
            ports: 0,
            crowd: listed.left_out.crowd + crowd as u64,
            connections: listed.left_out.connections + connections as u64,
        };
        let (pools, connections) = (has.tuples.len() as u64, has.connections.len() as u64);
        assert_eq!(sum, LeftOut { pools, ports: 0, crowd: has.crowded(), connections });
        assert_eq!(
            listed.left_out.is_nothing(),
            netns == 5,
            "who has little is not cut: {:?}",
            listed.left_out
        );
        let full = if netns == 5 { 7 } else { 17_011 };
        assert_eq!((listed.crowd[0].ports.len(), listed.connections[0].ports.len()), (full, full));
        assert_eq!(samples(&lists, listed, Settings::default()).left_out(), listed.left_out);
    }
}

/// As much as a file can say of everything.
fn absurd() -> Listed {
    let most = Ports::default().map(|_| u32::MAX);
    let towards = Towards { saddr: [10, 0, 0, 1].into(), daddr: [10, 0, 0, 9].into(), dport: 80 };
    let holders = vec![(7, u64::MAX), (8, u64::MAX)];
    let pool = ListedPool { towards, now: most, peak: most, timestamps: None, holders: holders.clone() };
    let port = ListedPort {
        port: 80,
        listening: true,
        listens_on: vec![[10, 0, 0, 1].into(); 99],
        time_wait: u64::MAX,
        open: u64::MAX,
        states: most,
        left_ms: u64::MAX,
        holders: holders.clone(),
    };
    let (state, who) = (State::CloseWait, Some(u32::MAX));
    let crowd = Crowd { towards, state, is_pin: true, who, ports: vec![1, 1] };
    let (daddr, count, longest_ms) = (None, u64::MAX, u64::MAX);
    let pile = Waiting { state, daddr, port: 80, count, longest_ms, holders: holders.clone() };
    let counters = Counters { syn_retrans: Some(u64::MAX), orphans: Some(u64::MAX), ..Counters::default() };
    Listed {
        netns: 5,
        overflow: u64::MAX,
        counters: Some(counters),
        conntrack: Some((u64::MAX, u64::MAX, Some(u32::MAX))),
        ipvs: Some((u64::MAX, u64::MAX, u64::MAX)),
        time_wait: u64::MAX,
        fin_wait2: u64::MAX,
        peak_time_wait: u64::MAX,
        pinned: u32::MAX,
        range_in_use: u32::MAX,
        pins: holders,
        pools: vec![pool; 3],
        ports: vec![port; 2],
        crowd: vec![crowd; 2],
        piles: vec![pile; 3],
        ..Listed::default()
    }
}

#[test]
fn numbers_that_no_kernel_has_are_no_trouble() {
    let lists = Lists { namespaces: vec![absurd()], ..Lists::default() };
    let netns = joined(&read(&lists, &Settings::default()));
    let facts = Facts { namespaces: vec![netns], ..Facts::default() };
    let findings = crate::diagnose::diagnose(&facts);
    assert!(!findings.is_empty());
    assert!(!crate::diagnose::text::report(&facts, &findings, Paint::NONE).is_empty());
}

#[test]
fn what_was_in_the_way_is_kept_of_those_in_whose_way_it_was() {
    let all = BTreeMap::from([(3, fanned(3, 1009, 7)), (5, fanned(5, 1013, 11))]);
    let lists = keep(&all, &failed(Some((5, 40_001))), None);
    let kept = |of: fn(&Listed) -> usize| [0, 1].map(|at| of(&lists.namespaces[at]));
    assert_eq!(kept(|listed| listed.crowd.iter().map(|crowd| crowd.ports.len()).sum()), [0, 1024]);
    assert_eq!(kept(|listed| listed.connections.iter().map(|all| all.ports.len()).sum()), [0, 1024]);
    assert_eq!(kept(|listed| listed.pools.len()), [1010, 1014]);
    assert!(lists.namespaces.iter().all(|listed| listed.left_out.is_nothing()));
}

#[test]
fn what_is_not_kept_takes_no_room_from_what_is() {
    // Half of what there is for each of two would not be enough for this.
    let all = || BTreeMap::from([(3, fanned(3, 61_001, 7)), (5, fanned(5, 61_007, 11))]);
    let lists = keep(&all(), &failed(Some((3, 40_001))), None);
    let left_out = |at: usize| lists.namespaces[at].left_out;
    let both = keep(&all(), &Failed { elsewhere: true, ..Failed::default() }, None);
    assert!(both.namespaces.iter().all(|listed| listed.left_out.crowd != 0));
    assert!(left_out(0).crowd < both.namespaces[0].left_out.crowd, "{:?}", left_out(0));
    assert_eq!((left_out(1).crowd, left_out(1).connections), (0, 0));
}
