//! Two recordings, each with what its own lists showed.

use std::net::IpAddr;

use super::*;
use crate::diagnose::facts::{Ports, Side, State};
use crate::host::net::counters::Counters;
use crate::recording::lists::{Connections, Crowd, Holder, ListedPool, ListedPort, Towards, Waiting};

fn towards(dport: u16) -> Towards {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Towards { saddr: address("10.0.0.1"), daddr: address("10.0.0.9"), dport }
}

fn pool(dport: u16, established: u32) -> ListedPool {
    let open = Ports { established, ..Ports::default() };
    ListedPool { towards: towards(dport), now: open, peak: open, timestamps: None, holders: vec![(0, 7)] }
}

fn waiting(state: State, count: u64) -> Waiting {
    let daddr = Some(towards(1).daddr);
    Waiting { state, daddr, port: 443, count, longest_ms: 3000, holders: Vec::new() }
}

/// `comm` is who held what there was.
fn lists(comm: &str, listed: Listed) -> Lists {
    let holder = Holder { pid: Some(97), comm: comm.to_owned(), ..Holder::default() };
    Lists { processes: vec![holder], namespaces: vec![listed], ..Lists::default() }
}

fn busy() -> Lists {
    let crowd = Crowd {
        towards: towards(80),
        state: State::Established,
        is_pin: false,
        who: Some(0),
        ports: vec![40_007, 40_009, 40_013],
    };
    let port =
        |port| ListedPort { port, listening: true, open: 11, holders: vec![(0, 1)], ..ListedPort::default() };
    let counters = Counters { syn_retrans: Some(11), orphans: Some(3), ..Counters::default() };
    let listed = Listed {
        netns: 5,
        overflow: 13,
        counters: Some(counters),
        peak_time_wait: 1009,
        pinned: 7,
        pins: vec![(0, 7)],
        range_in_use: 53,
        pools: vec![pool(80, 53), pool(81, 5)],
        ports: vec![port(8080), port(9090)],
        connections: vec![Connections { towards: towards(80), ports: crowd.ports.clone() }],
        crowd: vec![crowd],
        piles: vec![waiting(State::SynSent, 17), waiting(State::CloseWait, 19)],
        left_out: LeftOut { pools: 3, ports: 7, crowd: 23, connections: 29 },
        ..Listed::default()
    };
    Lists { slab: Some((256, 4096)), ..lists("first", listed) }
}

fn calm() -> Lists {
    let counters = Counters { syn_retrans: Some(2), orphans: Some(1), ..Counters::default() };
    let port = ListedPort { port: 8080, listening: true, holders: vec![(0, 1)], ..ListedPort::default() };
    let listed = Listed {
        netns: 5,
        overflow: 2,
        counters: Some(counters),
        time_wait: 3,
        peak_time_wait: 101,
        pinned: 1,
        pins: vec![(0, 1)],
        pools: vec![pool(81, 29)],
        ports: vec![port],
        left_out: LeftOut { pools: 5, crowd: 13, ..LeftOut::default() },
        ..Listed::default()
    };
    lists("second", listed)
}

fn seen(all: [Option<Lists>; 3]) -> Together {
    let mut together = Together::default();
    all.iter().for_each(|lists| together.take(lists.as_ref(), []));
    together
}

#[test]
fn what_was_worst_stays_and_what_is_now_is_of_the_last() {
    let together = seen([Some(busy()), None, Some(calm())]);
    assert_eq!((together.recordings, together.listed), (3, 2));
    assert_eq!(together.slab.map(|slab| slab.bytes), Some(4096));
    let samples = &together.namespaces[&5].samples;
    let counted = samples.counted().unwrap();
    assert_eq!((samples.overflowed(), counted.syn_retrans, counted.orphans), (15, Some(13), Some(1)));
    assert_eq!((samples.time_wait, samples.peak_time_wait), (3, 1009));
    assert_eq!(
        (samples.pinned, samples.pins[0].process.comm.as_str(), samples.range_in_use),
        (7, "first", 53)
    );
    assert_eq!((samples.crowd.len(), samples.connections.len()), (3, 3));
    assert_eq!(samples.left_out(), LeftOut { pools: 5, ports: 7, crowd: 23, connections: 29 });
    let pool = |dport| {
        let on = samples.tuples.iter().find(|(key, _)| key.dport == dport).unwrap().1;
        let holders: Vec<_> = on.holders.keys().map(|who| who.comm.clone()).collect();
        (on.now.established, on.peak.established, holders)
    };
    assert_eq!(pool(80), (0, 53, vec!["first".to_owned()]));
    assert_eq!(pool(81), (29, 29, vec!["second".to_owned()]));
    let port = |port| {
        let local = &samples.locals[&port];
        (local.listening, local.open, local.holders.keys().next().unwrap().comm.clone())
    };
    assert_eq!(port(8080), (true, 11, "second".to_owned()));
    assert_eq!(port(9090), (false, 11, "first".to_owned()));
}

#[test]
fn settings_stay_where_a_later_recording_does_not_tell_them_and_change_where_it_does() {
    let range = |together: &Together| {
        let settings = &together.namespaces[&5].samples.last.settings;
        (settings.port_range, settings.ports)
    };
    let (wide, narrow) = (Settings::of_range(40_000, 40_999), Settings::of_range(40_000, 40_049));
    let mut together = Together::default();
    together.take(Some(&busy()), [(7, narrow.clone()), (5, wide)]);
    together.take(Some(&calm()), []);
    assert_eq!(range(&together), (Some((40_000, 40_999)), Some(1000)));
    // One without lists may tell them as well.
    together.take(None, [(5, narrow)]);
    together.take(Some(&calm()), []);
    assert_eq!(range(&together), (Some((40_000, 40_049)), Some(50)));
}

#[test]
fn a_syn_that_nobody_answered_stays_and_a_close_that_came_is_none_that_is_missing() {
    let piles = |all| -> Vec<_> {
        let together = seen(all);
        let piles = together.namespaces[&5].samples.piles.all();
        piles.into_iter().map(|pile| (pile.state, pile.side, pile.count)).collect()
    };
    let side = Side::To(towards(1).daddr, 443);
    let (syn, close) = ((State::SynSent, side, 17), (State::CloseWait, side, 19));
    assert_eq!(piles([Some(busy()), Some(calm()), None]), [syn]);
    assert_eq!(piles([Some(calm()), Some(busy()), None]), [close, syn]);
}

#[test]
fn of_pools_without_number_the_fullest_stay() {
    let many = |from: u32| {
        let one = |at: u32| {
            let mut pool = pool((at % 60_000) as u16, at);
            pool.towards.daddr = IpAddr::from((0x0a00_0000 + at).to_be_bytes());
            pool
        };
        let pools = (from..from + 12_007).map(one).collect();
        Some(lists("one", Listed { netns: 5, pools, ..Listed::default() }))
    };
    let together = seen([many(1), many(20_001), None]);
    let tuples = &together.namespaces[&5].samples.tuples;
    assert_eq!(tuples.len(), MOST_POOLS);
    let least = tuples.values().map(|on| on.peak.established).min();
    assert_eq!(least, Some(12_007 - (MOST_POOLS as u32 - 12_007) + 1));
}

#[test]
fn connections_that_were_in_the_way_stay_where_nothing_was_on_the_range() {
    let ports = vec![1009, 1013];
    let connected = || Listed {
        netns: 5,
        connections: vec![Connections { towards: towards(80), ports: ports.clone() }],
        ..Listed::default()
    };
    let none = || Listed { netns: 5, ..Listed::default() };
    let both = [connected(), none()].map(|listed| Some(lists("old", listed)));
    let [first, second] = both;
    for all in [[first.clone(), second.clone(), None], [second, first, None]] {
        let together = seen(all);
        let samples = &together.namespaces[&5].samples;
        assert_eq!(samples.connections.iter().map(|(_, port)| *port).sum::<u16>(), 2022);
    }
}
