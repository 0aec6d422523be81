//! Owns: what is said of what is only counted: refused SYNs, RSTs, tables that are nearly full.
//! Must not know: how facts are come by.

use std::net::IpAddr;

use super::{client, facts, ids, netns, only, refused, share};
use crate::diagnose::facts::*;
use crate::diagnose::finding::{Finding, Severity};
use crate::host::net::counters::Counters;

#[test]
fn rsts_are_told_where_they_are_let_in_and_many() {
    let with = |reset, rfc1337| {
        let mut netns = Netns { reset, concerned: vec![client()], ..netns() };
        netns.settings.rfc1337 = rfc1337;
        ids(&facts(netns))
    };
    assert_eq!(with(13, Some(0)), ["rst_kills"]);
    assert_eq!(with(13, None), ["rst_kills"]);
    assert_eq!(with(13, Some(1)), ["nothing_wrong"]);
    assert_eq!(with(9, Some(0)), ["nothing_wrong"]);
    // Where nobody can see whether SYNs are refused, what would keep their senders out is not advised.
    let mut tracker = Netns { reset: 13, concerned: vec![client()], ..netns() };
    tracker.settings.rfc1337 = Some(0);
    assert!(refused(&only(&facts(tracker.clone())), "rfc1337"));
    tracker.counters = Some(Counters { paws_timewait: Some(0), ..Counters::default() });
    assert!(only(&facts(tracker.clone())).remedies.iter().any(|remedy| remedy.id == "rfc1337"));
    let few = Netns { reset: 13, created: 2000, ..netns() };
    assert_eq!(ids(&facts(few)), ["nothing_wrong"]);
}

fn counted(counters: Counters) -> Netns {
    Netns { counters: Some(counters), ..netns() }
}

#[test]
fn refused_syns_are_told_and_never_made_worse() {
    let by_counter = counted(Counters { paws_timewait: Some(73), ..Counters::default() });
    let finding = only(&facts(Netns { reset: 73, ..by_counter.clone() }));
    assert_eq!((finding.id, finding.severity), ("syn_refused", Severity::Warning));
    assert!(finding.what.starts_with("73 SYNs met a TIME_WAIT socket and were refused"), "{}", finding.what);
    assert!(refused(&finding, "rfc1337_on"));
    assert!(finding.remedies.iter().all(|remedy| !remedy.id.starts_with("rfc1337")), "{finding:?}");
    let mut worse = by_counter;
    worse.settings.rfc1337 = Some(1);
    let finding = only(&facts(worse));
    assert_eq!(finding.severity, Severity::Critical);
    let off = finding.remedies.iter().find(|remedy| remedy.id == "rfc1337_off").unwrap();
    assert_eq!(off.command.as_deref(), Some("sysctl -w net.ipv4.tcp_rfc1337=0"));
    // IPVS may have a part in it.
    let evidence = |ipvs| {
        let counters = Some(Counters { paws_timewait: Some(73), ..Counters::default() });
        let finding = only(&facts(Netns { ipvs, counters, ..netns() }));
        finding.evidence.iter().any(|one| one.what == "services of IPVS here")
    };
    assert!(evidence(Some(Ipvs { services: 3, active: 7, inactive: 211 })) && !evidence(None));
    // Events say from whom.
    let syns = vec![SynRefused { port: 9000, peer: IpAddr::from([10, 9, 0, 1]), count: 1 }];
    let told = only(&facts(Netns { syn_refused: syns, ..netns() }));
    assert!(
        told.what.starts_with("1 SYN met") && told.what.contains("10.9.0.1 on port 9000"),
        "{}",
        told.what
    );
    assert_eq!(
        ids(&facts(counted(Counters { paws_timewait: Some(0), ..Counters::default() }))),
        ["nothing_wrong"]
    );
}

#[test]
fn one_late_segment_is_no_syn_and_a_queue_is_not_on_the_path() {
    let refused = |paws| ids(&facts(counted(Counters { paws_timewait: Some(paws), ..Counters::default() })));
    assert_eq!((refused(2), refused(3)), (vec!["nothing_wrong"], vec!["syn_refused"]));
    let counters = |again, overflows| {
        let (syn_retrans, listen_overflows) = (Some(again), Some(overflows));
        only(&facts(counted(Counters { syn_retrans, listen_overflows, ..Counters::default() })))
    };
    assert!(counters(0, 3).remedies.is_empty() && counters(0, 3).what.contains("`ss -ltn`"));
    assert_eq!(counters(10, 3).remedies.len(), 1);
    assert!(!counters(10, 0).what.contains("`ss -ltn`"));
}

#[test]
fn a_view_says_nothing_of_what_it_does_not_look_at() {
    let seen = only(&Facts { source: Source::View, ..facts(netns()) });
    let told = |finding: &Finding| finding.evidence.iter().any(|one| one.what.contains("RST"));
    assert!(!told(&seen) && told(&only(&facts(netns()))));
}

#[test]
fn closes_with_an_rst_are_told_by_whoever_counted_them() {
    let aborted = vec![Aborted { process: share(7, "probe").process, linger: 40, unread_data: 0, other: 0 }];
    let finding = only(&facts(Netns { aborted, ..netns() }));
    assert_eq!((finding.id, finding.severity), ("closes_aborted", Severity::Notice));
    assert!(
        finding.what.contains("40 with SO_LINGER 0") && finding.what.contains("probe (pid 7)"),
        "{}",
        finding.what
    );
    let counters = Counters { abort_on_data: Some(3), abort_on_close: Some(7), ..Counters::default() };
    let finding = only(&facts(counted(counters)));
    let untold = "0 with SO_LINGER 0, 7 with data that nobody had read, 3 as data came after close(), or with SO_LINGER 0 that no \
                  event told of); whose they were no event tells";
    assert!(finding.what.contains(untold), "{}", finding.what);
    let remedy = finding.remedies.iter().find(|remedy| remedy.id == "graceful_close").unwrap();
    assert!(!remedy.change.as_ref().unwrap().contains("SO_LINGER"), "{remedy:?}");
    // Events tell of thirteen; those that the kernel counted besides are nobody's.
    let aborted = vec![Aborted { process: share(7, "probe").process, linger: 13, unread_data: 0, other: 0 }];
    let counters = Counters { abort_on_data: Some(30), abort_on_close: Some(0), ..Counters::default() };
    let finding = only(&facts(Netns { aborted, ..counted(counters) }));
    let both = "30 closes ended in an RST of this host's (13 with SO_LINGER 0, 0 with data that nobody had read, 17 as data came \
                after close(), or with SO_LINGER 0 that no event told of), by probe (pid 7), and 17 of which no event tells whose \
                they were:";
    assert!(finding.what.starts_with(both), "{}", finding.what);
    let few = Counters { abort_on_data: Some(3), abort_on_close: Some(6), ..Counters::default() };
    assert_eq!(ids(&facts(counted(few))), ["nothing_wrong"]);
}

#[test]
fn nothing_is_wrong_only_where_the_counters_are_quiet_too() {
    let again = |syn_retrans| Counters { syn_retrans: Some(syn_retrans), ..Counters::default() };
    assert_eq!(ids(&facts(counted(again(10)))), ["counters_moved"]);
    assert_eq!(ids(&facts(counted(again(9)))), ["nothing_wrong"]);
    let overflows = Counters { listen_overflows: Some(1), ..Counters::default() };
    assert_eq!(ids(&facts(counted(overflows))), ["counters_moved"]);
    let quiet = only(&facts(counted(again(3))));
    let evidence = |what: &str| quiet.evidence.iter().find(|one| one.what == what).unwrap().value.to_string();
    assert_eq!(evidence("SYNs that were sent again"), "3");
    assert_eq!(evidence("closes that ended in an RST"), "0");
    let aborted = vec![Aborted { process: share(7, "probe").process, linger: 7, unread_data: 0, other: 0 }];
    let told = only(&facts(Netns { aborted, reset: 3, ..counted(again(0)) }));
    let evidence = |what: &str| told.evidence.iter().find(|one| one.what == what).unwrap().value.to_string();
    assert_eq!(evidence("closes that ended in an RST"), "7");
    assert_eq!(evidence("TIME_WAIT sockets that an RST ended"), "3");
}

#[test]
fn tables_are_told_before_they_are_full() {
    let conntrack = |count| {
        let conntrack = Some(Conntrack { count, max: 1000, time_wait_s: Some(120) });
        ids(&facts(Netns { conntrack, ..netns() }))
    };
    assert_eq!(conntrack(900), ["conntrack_near_full"]);
    assert_eq!(conntrack(899), ["nothing_wrong"]);
    let full = Some(Conntrack { count: 1000, max: 1000, time_wait_s: None });
    assert_eq!(only(&facts(Netns { conntrack: full, ..netns() })).severity, Severity::Critical);
    let orphans = |orphans| {
        let counters = Counters { orphans: Some(orphans), max_orphans: Some(500), ..Counters::default() };
        ids(&facts(counted(counters)))
    };
    assert_eq!(orphans(400), ["orphans_near_limit"]);
    assert_eq!(orphans(399), ["nothing_wrong"]);
}
