//! What a recording keeps of lists says the same as the lists.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::diagnose::facts::samples::tests::{busy, sample, socket};
use crate::diagnose::facts::{BindFailure, Facts, Netns, join};
use crate::engine::TupleKey;
use crate::host::net::counters::Counters;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::ports::Ports;
use crate::output::paint::Paint;
use crate::recording::lists::Listed;

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
    let lists = keep(&BTreeMap::from([(5, looked)]), &HashSet::from([(5, 40_001)]), Some(2));
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
    let lists = keep(&all, &HashSet::from([(7, 40_001)]), Some(2));
    let [listed] = &lists.namespaces[..] else { panic!("{lists:?}") };
    assert_eq!(listed.ports.iter().map(|local| local.port).collect::<Vec<_>>(), [40_050]);
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
