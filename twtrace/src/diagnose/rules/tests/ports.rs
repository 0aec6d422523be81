//! Owns: what is said of ports that do not go by TIME_WAIT: other states, what bind() took, ranges of sockets, and what is not explained.
//! Must not know: how facts are come by.

use std::net::IpAddr;

use super::samples::calm;
use super::{facts, found, full, ids, netns, only, refused, share, with_tuple};
use crate::diagnose::facts::*;
use crate::diagnose::finding::{Finding, Severity};

fn with_around(ports: Ports, around: Around) -> Facts {
    with_tuple(Tuple { around: Some(around), ..full(ports, 13) })
}

fn time_wait(time_wait: u32) -> Ports {
    Ports { time_wait, ..Ports::default() }
}

fn holder(time_wait: u64) -> Share {
    Share { time_wait, ..share(101, "binder") }
}

#[test]
fn what_does_not_add_up_is_not_explained_and_has_no_remedy() {
    let failing = with_tuple(full(time_wait(300), 3));
    let finding = only(&failing);
    assert_eq!((finding.id, finding.severity), ("not_explained", Severity::Critical));
    assert!(finding.remedies.is_empty() && finding.not_here.is_empty(), "{finding:?}");
    assert!(finding.what.contains("300 of 1,000 ports are in use to there"), "{}", finding.what);
    let recorded = Netns { tuples: vec![full(time_wait(300), 3)], pinned: None, ..netns() };
    let recorded = Facts { source: Source::Recording, ..facts(recorded) };
    assert!(only(&recorded).what.contains("are not in this recording"));
    // The look comes a little late.
    assert_eq!(ids(&with_tuple(full(time_wait(900), 3))), ["ports_exhausted"]);
    assert_eq!(ids(&with_tuple(full(time_wait(899), 3))), ["not_explained"]);
}

#[test]
fn the_largest_holder_of_the_namespace_is_named_and_not_the_caller() {
    let other = Tuple { dport: 443, shares: vec![holder(500)], ..calm() };
    let mine = Tuple {
        shares: vec![Share { failed: 3, time_wait: 5, ..share(7, "victim") }],
        ..full(time_wait(5), 3)
    };
    let finding = only(&facts(Netns { tuples: vec![mine, other], ..netns() }));
    assert_eq!(finding.id, "not_explained");
    assert!(finding.what.contains("held by binder (pid 101): 500"), "{}", finding.what);
    assert_eq!(finding.who[0].process.comm, "binder");
    // Whoever is not known is not left out for the one name that is.
    let unseen = Tuple { dport: 443, shares: vec![Share { time_wait: 500, ..Share::default() }], ..calm() };
    let mine = Tuple {
        shares: vec![Share { failed: 3, time_wait: 5, ..share(7, "victim") }],
        ..full(time_wait(5), 3)
    };
    let finding = only(&facts(Netns { tuples: vec![mine, unseen], ..netns() }));
    assert!(finding.what.contains("held by a process that twtrace did not see: 500"), "{}", finding.what);
}

#[test]
fn ports_of_other_pools_that_connect_would_share_came_from_bind() {
    let around = Around { others: 950, shares: vec![holder(950)], ..Around::default() };
    let finding = only(&with_around(time_wait(50), around.clone()));
    assert_eq!((finding.id, finding.severity), ("ports_bound", Severity::Critical));
    assert!(finding.what.contains("950 of 1,000 ports are bound"), "{}", finding.what);
    assert!(finding.what.contains("held by binder (pid 101)"), "{}", finding.what);
    assert!(refused(&finding, "open_tw_reuse"));
    super::expect_effect(&finding, "bind_no_port", "ports for this destination", (50.0, 1000.0));
    // Of those that connect() chose, all are open to this destination.
    let shared = Around { shared: 950, ..around.clone() };
    assert_eq!(only(&with_around(time_wait(50), shared)).id, "not_explained");
    // Nobody fails: nothing to say.
    let calm = Tuple { around: Some(around), ..calm() };
    assert_eq!(ids(&with_tuple(calm)), ["nothing_wrong"]);
}

#[test]
fn ports_that_are_bound_and_not_used_are_told_with_their_holder() {
    let pins = vec![Share { open: 700, ..share(103, "holder") }];
    let tracker = Netns { tuples: vec![full(time_wait(300), 3)], pinned: Some(700), pins, ..netns() };
    let finding = only(&facts(tracker));
    assert_eq!(finding.id, "ports_bound");
    assert!(finding.what.contains("held by holder (pid 103)"), "{}", finding.what);
    assert!(finding.remedies.iter().any(|remedy| remedy.id == "release_ports"));
    assert!(finding.remedies.iter().all(|remedy| remedy.id != "bind_no_port"));
}

fn ranged(ports: impl IntoIterator<Item = u16>) -> Facts {
    let callers = vec![Caller { comm: "proxy".into(), ports: ports.into_iter().collect() }];
    let tuple = Tuple {
        around: Some(Around { callers, ..Around::default() }),
        shares: vec![Share { failed: 13, time_wait: 10, ..share(7, "proxy") }],
        ..full(time_wait(30), 13)
    };
    with_tuple(tuple)
}

#[test]
fn ports_in_a_row_without_a_gap_are_a_range_of_the_sockets_own() {
    let finding = only(&ranged(40_000..40_010));
    assert_eq!(finding.id, "socket_range");
    assert!(finding.what.contains("all 10 ports from 40000 to 40009"), "{}", finding.what);
    assert!(refused(&finding, "socket_port_range"));
    super::expect_effect(&finding, "wider_socket_range", "ports that it may use", (10.0, 1000.0));
    // What bound sockets may have, unseen, is not the socket's range.
    let mut unseen = ranged(40_000..40_010);
    unseen.namespaces[0].lists_bound = Some(false);
    let unseen = only(&unseen);
    assert_eq!(unseen.id, "not_explained");
    assert!(unseen.what.contains("this kernel does not show sockets that are only bound"), "{}", unseen.what);
    // As connect() chooses them from the whole range.
    assert_eq!(only(&ranged((40_000..40_020).step_by(2))).id, "not_explained");
    assert_eq!(only(&ranged([40_007])).id, "not_explained");
    // Where the whole range is full, that is it.
    let mut full_up = ranged(40_000..40_010);
    full_up.namespaces[0].tuples[0].peak = time_wait(1000);
    assert_eq!(only(&full_up).id, "ports_exhausted");
}

#[test]
fn reserved_ports_are_no_gap() {
    let mut facts = ranged((40_000..40_010).filter(|port| *port != 40_005));
    facts.namespaces[0].settings.reserved = vec![(40_005, 40_005)];
    assert!(only(&facts).what.contains("all 9 ports from 40000 to 40009"));
}

#[test]
fn each_state_has_a_name_a_cause_and_a_remedy_of_its_own() {
    let all = Ports::default();
    for (ports, id, remedy) in [
        (Ports { syn_sent: 1000, ..all }, "syn_unanswered", "connect_timeout"),
        (Ports { close_wait: 1000, ..all }, "close_wait_pileup", "close_sockets"),
        (Ports { fin_wait2_held: 1000, ..all }, "fin_wait2_held", "close_sockets"),
        (Ports { unacknowledged: 1000, ..all }, "close_unacknowledged", "check_path"),
        (Ports { established: 1000, ..all }, "ports_held_open", "fewer_connections"),
    ] {
        let finding = only(&with_tuple(full(ports, 3)));
        assert_eq!((finding.id, finding.severity), (id, Severity::Critical));
        assert!(finding.remedies.iter().any(|offered| offered.id == remedy), "{id}");
        assert!(refused(&finding, "open_tw_reuse") && refused(&finding, "lower_fin_timeout"), "{id}");
    }
}

fn piled(state: State, count: u64) -> Vec<Finding> {
    let side = Side::To(IpAddr::from([10, 0, 0, 7]), 443);
    let shares = vec![Share { open: count, ..share(107, "relay") }];
    let piles = vec![Pile { state, side, count, longest_ms: 3000, shares }];
    found(&facts(Netns { piles, ..netns() }))
}

#[test]
fn what_lasts_is_told_before_ports_run_out() {
    for (state, id) in [
        (State::SynSent, "syn_unanswered"),
        (State::CloseWait, "close_wait_pileup"),
        (State::FinWait2Held, "fin_wait2_held"),
        (State::Unacknowledged, "close_unacknowledged"),
    ] {
        let told = piled(state, 11);
        assert_eq!((told[0].id, told[0].severity, told.len()), (id, Severity::Warning, 1));
        assert!(told[0].what.contains("11 connections to 10.0.0.7:443"), "{}", told[0].what);
        assert!(told[0].what.contains("relay (pid 107)"), "{}", told[0].what);
        assert_eq!(piled(state, 9)[0].id, "nothing_wrong");
    }
    assert_eq!(piled(State::Established, 11)[0].id, "nothing_wrong");
}

#[test]
fn ports_beyond_the_range_are_counted_by_themselves() {
    let beyond = |peak| {
        let tuple = Tuple { peak: time_wait(peak), ..full(time_wait(1000), 0) };
        let all = only(&with_tuple(tuple)).evidence;
        let beyond = all.iter().find(|evidence| evidence.what.contains("outside of the range as it is now"));
        beyond.map(|evidence| evidence.value.to_string())
    };
    // It was narrowed since: 1,000 of 1,000 are in use now, and 1,060 were.
    assert_eq!((beyond(1060).as_deref(), beyond(1000)), (Some("60"), None));
}

#[test]
fn reuse_is_no_remedy_for_ports_that_came_from_bind() {
    let tuple = Tuple { bound: 1000, ..full(time_wait(1000), 13) };
    let finding = only(&with_tuple(tuple));
    assert!(refused(&finding, "tw_reuse"), "{finding:?}");
}

#[test]
fn a_range_that_is_half_full_is_slow_before_it_is_full() {
    let open = |established| Tuple { created: 0, ..full(Ports { established, ..Ports::default() }, 0) };
    let finding = only(&with_tuple(open(500)));
    assert_eq!((finding.id, finding.severity), ("range_half_full", Severity::Notice));
    assert_eq!(ids(&with_tuple(open(499))), ["nothing_wrong"]);
    // Nearly full, that is what there is to say.
    assert_eq!(ids(&with_tuple(open(900))), ["ports_held_open"]);
    let mut few = with_tuple(open(500));
    few.namespaces[0].settings.ports = Some(999);
    assert_eq!(ids(&few), ["nothing_wrong"]);
}

#[test]
fn everybody_who_fails_is_counted_whatever_the_cause() {
    let told = |ports: Ports, tw_reuse| {
        let fails = |pid| Share { failed: if pid == 7 { 5 } else { 1 }, ..share(pid, "proxy") };
        let tuple = Tuple { shares: (7..19).map(fails).collect(), ..full(ports, 16) };
        let mut netns = Netns { tuples: vec![tuple], ..netns() };
        netns.settings.tw_reuse = Some(tw_reuse);
        only(&facts(netns))
    };
    let states = [
        (time_wait(1000), 2, "ports_exhausted"),
        (time_wait(1000), 1, "reuse_cannot_work"),
        (time_wait(300), 2, "not_explained"),
        (Ports { established: 1000, ..Ports::default() }, 2, "ports_held_open"),
        (Ports { close_wait: 1000, ..Ports::default() }, 2, "close_wait_pileup"),
        (Ports { fin_wait2: 1000, ..Ports::default() }, 2, "fin_wait2_pileup"),
    ];
    for (ports, tw_reuse, id) in states {
        let finding = told(ports, tw_reuse);
        assert_eq!(finding.id, id);
        assert!(
            finding.headline.starts_with("proxy[7] +11 cannot connect to 10.0.0.9:5432"),
            "{}",
            finding.headline
        );
        let text =
            crate::diagnose::text::report(&with_tuple(calm()), &[finding], crate::output::paint::Paint::NONE);
        assert!(text.contains("\n    and 7 more\n"), "{text}");
    }
}
