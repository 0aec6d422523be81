//! A report finds what the doctor finds in the same recording.

use super::hosts::part;
use crate::diagnose::found as doctor_found;
use crate::model::filter::Filter;
use crate::model::ports::Ports;
use crate::model::settings::Settings;
use crate::present::report::chain::Counted;
use crate::present::report::count::CountOptions;
use crate::present::report::sample::{NETNS, sample};
use crate::present::report::{Options, Part, facts, read};
use crate::recording::lists::{LeftOut, Listed, ListedPool, Lists, Towards};
use crate::recording::{Encoder, Head, Namespace, Tail};

#[test]
fn they_are_those_of_the_doctor() {
    for steps in [7, 997, 5003] {
        let sample = sample(steps);
        let facts = facts(sample.recording(), &Filter::default(), None).unwrap().0;
        let report = read(sample.recording(), &Options::default()).unwrap();
        let found = report.findings.unwrap();
        assert_eq!(found, doctor_found(&facts), "{steps} steps");
        assert!(steps < 100 || !found.is_empty(), "nothing to compare");
    }
}

#[test]
fn under_a_filter_there_are_none() {
    let filter = Filter { pids: vec![97], ..Filter::default() };
    let report = read(sample(97).recording(), &Options { filter, ..Options::default() }).unwrap();
    assert_eq!(report.findings, None);
}

/// Connections that were open all the time have no events, and whoever is asked for, they may be in the way.
#[test]
fn what_only_the_lists_showed_stays_under_a_filter() {
    let mut sample = sample(97);
    let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.7.7.7".parse().unwrap());
    let open = Ports { established: 53, ..Ports::default() };
    let towards = Towards { saddr, daddr, dport: 6379 };
    let pool = ListedPool { towards, now: open, peak: open, timestamps: None, holders: Vec::new() };
    let listed = Listed { netns: NETNS, pools: vec![pool], ..Listed::default() };
    sample.tail.lists = Some(Lists { namespaces: vec![listed], ..Lists::default() });
    let towards_it = Filter { dports: vec![6379], ..Filter::default() };
    for (filter, most) in [(Filter::default(), usize::MAX), (towards_it, 1)] {
        let facts = facts(sample.recording(), &filter, None).unwrap().0;
        let netns = facts.namespaces.iter().find(|netns| netns.netns == NETNS).unwrap();
        let shown = netns.tuples.iter().filter(|tuple| tuple.daddr == daddr && tuple.now == open).count();
        assert!(shown == 1 && netns.tuples.len() <= most, "{:?}", netns.tuples);
    }
}

/// One minute of one machine, in which one connection closed.
fn minute(began_s: u64, lists: Option<Lists>) -> Part {
    minute_in(began_s, lists, Vec::new())
}

/// The same, with what is known of namespaces at its beginning.
fn minute_in(began_s: u64, lists: Option<Lists>, namespaces: Vec<Namespace>) -> Part {
    let at_ns = |s: u64| (began_s + s) * 1_000_000_000;
    let head = Head { mono_ns: at_ns(0), boot_id: "boot".to_owned(), namespaces, ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    let mut event = sample(97).events[0].clone();
    event.mono_ns = at_ns(1);
    encoder.append(&event);
    encoder.close_batch().unwrap();
    encoder.finish(&Tail { mono_ns: at_ns(60), lists, ..Tail::default() }).unwrap();
    part(&format!("{began_s}.twt"), std::mem::take(encoder.bytes()))
}

/// What stood in the way in the first minute is gone in the last one, and what happened in between nobody knows.
#[test]
fn the_lists_of_every_file_count_and_the_time_between_files_does_not() {
    let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.7.7.7".parse().unwrap());
    let open = Ports { established: 53, ..Ports::default() };
    let towards = Towards { saddr, daddr, dport: 6379 };
    let pool = ListedPool { towards, now: open, peak: open, timestamps: None, holders: Vec::new() };
    let listed = |pools| {
        let left_out = LeftOut { crowd: 8_101, connections: 1, ..LeftOut::default() };
        let listed = Listed { netns: NETNS, pools, left_out, ..Listed::default() };
        Some(Lists { namespaces: vec![listed], ..Lists::default() })
    };
    let parts =
        vec![minute(1000, listed(vec![pool])), minute(9000, None), minute(90_000, listed(Vec::new()))];
    let facts = Counted::of(parts, &CountOptions::default(), None).unwrap().facts();
    let netns = facts.namespaces.iter().find(|netns| netns.netns == NETNS).unwrap();
    let [tuple] = &netns.tuples.iter().filter(|tuple| tuple.daddr == daddr).collect::<Vec<_>>()[..] else {
        panic!("{:?}", netns.tuples)
    };
    assert_eq!((tuple.now, tuple.peak), (Ports::default(), open));
    assert_eq!(facts.observed_ms, 180_000);
    let left_out = "8,101 sockets on ports when a call had failed, 1 connection when a call had failed: there was no room";
    for want in ["in 1 of 3 files", left_out] {
        assert!(facts.unknown.iter().any(|unknown| unknown.contains(want)), "{:?}", facts.unknown);
    }
}

/// A part tells nothing of a namespace in which nothing lived when it began and nothing happened since.
#[test]
fn a_quiet_part_does_not_make_ports_unknown() {
    let listed = |peak_time_wait| {
        let listed = Listed { netns: NETNS, peak_time_wait, ..Listed::default() };
        Some(Lists { namespaces: vec![listed], ..Lists::default() })
    };
    let sysctls = Some(Settings { tw_reuse: Some(2), ..Settings::of_range(32_768, 60_999) });
    let known = Namespace { netns: NETNS, sysctls, ..Namespace::default() };
    let parts =
        vec![minute_in(1000, listed(60), vec![known]), minute(1060, listed(0)), minute(1120, listed(0))];
    let facts = Counted::of(parts, &CountOptions::default(), None).unwrap().facts();
    let netns = facts.namespaces.iter().find(|netns| netns.netns == NETNS).unwrap();
    assert_eq!((netns.settings.ports, netns.settings.tw_reuse), (Some(28_232), Some(2)));
}

/// A pid is used again: the second process of it sends 7 bytes a connection, the first sent 18,431.
#[test]
fn a_process_has_nothing_of_another_one_that_had_its_pid() {
    use crate::model::event::{Comm, Event, Kind, Process, Role};
    let head = crate::recording::Head { mono_ns: 1, ..Default::default() };
    let mut encoder = crate::recording::Encoder::new(&head).unwrap();
    for at in 0..194_u16 {
        let (start_ns, sent) = if at < 97 { (1_000_000_007, 18_431) } else { (7_000_000_003, 7) };
        let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
        let conn =
            crate::model::event::Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 40_000 + at, dport: 5432 };
        for kind in [Kind::Created, Kind::Overflow] {
            let mut event = Event::new(kind, 10 + u64::from(at), Some(conn));
            let comm = Comm::new("php-fpm");
            event.owner = Some(Process { pid: 97, tid: 97, uid: 33, cgroup_id: 5, start_ns, comm });
            (event.role, event.bytes_sent) = (Role::Client, Some(sent));
            encoder.append(&event);
        }
    }
    encoder.finish(&crate::recording::Tail::default()).unwrap();
    let bytes = std::mem::take(encoder.bytes());
    let recording =
        || crate::recording::Recording::read(std::io::Cursor::new(bytes.clone()), "pids").unwrap();
    for facts in [facts(recording(), &Filter::default(), None).unwrap().0] {
        let netns = &facts.namespaces[0];
        for shares in [&netns.tuples[0].shares, &netns.concerned] {
            let mut sent: Vec<_> = shares
                .iter()
                .map(|share| (share.process.start_ns, share.habits.and_then(|habits| habits.sent)))
                .collect();
            sent.sort_unstable();
            let near =
                |sent: Option<u64>, want: u64| sent.is_some_and(|sent| sent.abs_diff(want) * 8 <= want);
            let [(1_000_000_007, first), (7_000_000_003, second)] = sent[..] else { panic!("{sent:?}") };
            assert!(near(first, 18_431) && second == Some(7), "{sent:?}");
        }
    }
}
