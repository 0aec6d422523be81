//! What a live view finds, and of which time its figures are.

use crate::diagnose::glance;
use crate::engine::{By, Capacity, Tracker};
use crate::model::event::{Comm, Conn, Errno, Event, Kind, Role};
use crate::model::ports::Ports;
use crate::model::settings::Settings;

const SECOND_NS: u64 = 1_000_000_000;

fn allowed() -> Settings {
    Settings { max_tw_buckets: Some(9999), ..Settings::of_range(40_000, 40_199) }
}

fn event(kind: Kind, at_ns: u64, sport: u16) -> Event {
    let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
    let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport, dport: 5432 };
    let mut event = Event::new(kind, at_ns, Some(conn));
    event.role = Role::Client;
    let comm = Comm::new("checkout-api");
    event.owner =
        Some(crate::model::event::Process { pid: 97, tid: 97, uid: 0, cgroup_id: 0, start_ns: 1, comm });
    event
}

/// A pool of 200 ports: `live` in TIME_WAIT, then so many failures, in second 9.
fn tracker(live: u16, failed: u16) -> Tracker {
    let mut tracker = Tracker::new();
    fill(&mut tracker, live, failed);
    tracker
}

fn fill(tracker: &mut Tracker, live: u16, failed: u16) {
    tracker.advance(SECOND_NS);
    tracker.set_capacity(7, Capacity { name: None, settings: allowed() });
    let calls =
        (0..live).map(|at| (Kind::Created, 40_000 + at)).chain((0..failed).map(|_| (Kind::ConnectFailed, 0)));
    for (kind, sport) in calls {
        tracker.apply(&mut event(kind, 9 * SECOND_NS, sport));
    }
    tracker.advance(12 * SECOND_NS);
}

#[test]
fn a_live_view_shows_what_the_doctor_would_find() {
    let told = |live, failed, wanted: &[By]| {
        let snapshot = tracker(live, failed).snapshot(wanted);
        glance(&snapshot, &[], None).iter().map(|line| line.id).collect::<Vec<_>>()
    };
    for wanted in [&[By::Process][..], By::ALL] {
        assert_eq!(told(200, 7, wanted), ["ports_exhausted"]);
        assert_eq!(told(170, 0, wanted), ["ports_running_out"]);
        assert!(told(13, 0, wanted).is_empty());
    }
}

#[test]
fn what_calls_failed_for_explains_them_when_it_has_gone() {
    let mut tracker = tracker(200, 7);
    let told = |tracker: &Tracker| {
        let findings = glance(&tracker.snapshot(By::ALL), &[], None);
        findings.iter().map(|line| line.id).collect::<Vec<_>>()
    };
    for (left, at_s) in [(100, 20), (13, 30), (0, 60)] {
        for port in left..200 {
            tracker.apply(&mut event(Kind::Ended, at_s * SECOND_NS, 40_000 + port));
        }
        tracker.advance((at_s + 1) * SECOND_NS);
        assert_eq!(told(&tracker), ["ports_exhausted"], "{left} left");
    }
    // Open sockets that took such ports since are none of that moment.
    let key = tracker.snapshot(By::ALL).tuples[0].key;
    let open = Ports { established: 170, ..Ports::default() };
    tracker.set_other_ports([(7, [(key, open)].into())]);
    let facts = super::of_snapshot(&tracker.snapshot(By::ALL));
    let peak = facts.namespaces[0].tuples[0].peak;
    assert_eq!((peak.time_wait, peak.all()), (200, 200));
    tracker.set_other_ports([(7, [].into())]);
    tracker.advance(75 * SECOND_NS);
    assert!(told(&tracker).is_empty());
}

#[test]
fn everybody_who_holds_a_part_of_a_pool_is_a_holder() {
    let mut tracker = tracker(0, 0);
    for (at, (pid, comm)) in (0..200).zip([(97, "cli-A"), (101, "cli-B"), (0, "")].into_iter().cycle()) {
        let mut event = event(Kind::Created, 9 * SECOND_NS, 40_000 + at);
        let owner = event.owner.take().map(|owner| crate::model::event::Process {
            pid,
            start_ns: u64::from(pid),
            comm: Comm::new(comm),
            ..owner
        });
        event.owner = owner.filter(|owner| owner.pid != 0);
        tracker.apply(&mut event);
    }
    tracker.advance(12 * SECOND_NS);
    for wanted in [&[By::Process][..], By::ALL] {
        let facts = super::of_snapshot(&tracker.snapshot(wanted));
        let shares = &facts.namespaces[0].tuples[0].shares;
        let held: Vec<_> =
            shares.iter().map(|share| (share.process.comm.as_str(), share.time_wait)).collect();
        assert_eq!(held, [("cli-A", 67), ("cli-B", 67), ("", 66)], "{wanted:?}");
        let told = &glance(&tracker.snapshot(wanted), &[], None)[0].text;
        let want = "cli-A (pid 97) and 1 more (134), and a process that twtrace did not see (66)";
        assert!(told.contains(want), "{told}");
    }
}

/// However many there are: none of 53 workers is left out of a number.
#[test]
fn everybody_who_holds_or_fails_is_counted() {
    let mut tracker = tracker(0, 0);
    let worker = |pid: u16, kind, sport| {
        let mut event = event(kind, 9 * SECOND_NS, sport);
        event.owner = event.owner.take().map(|owner| crate::model::event::Process {
            pid: pid.into(),
            start_ns: pid.into(),
            ..owner
        });
        event
    };
    for at in 0..200 {
        tracker.apply(&mut worker(100 + at % 53, Kind::Created, 40_000 + at));
    }
    for at in 0..31 {
        tracker.apply(&mut worker(100 + at, Kind::ConnectFailed, 0));
    }
    tracker.advance(12 * SECOND_NS);
    for wanted in [&[By::Process][..], By::ALL] {
        let told = &glance(&tracker.snapshot(wanted), &[], None)[0];
        assert!(told.text.contains("checkout-api (53 processes)"), "{}", told.text);
        assert!(told.headline.contains("checkout-api[100] +30 cannot connect"), "{}", told.headline);
    }
}

#[test]
fn everybody_who_cannot_bind_a_port_is_told() {
    let mut tracker = tracker(0, 0);
    for (pid, comm, failed) in [(97, "nginx", 2), (101, "apache2", 3)] {
        for _ in 0..failed {
            let mut event = event(Kind::BindFailed, 11 * SECOND_NS, 8080);
            event.role = Role::Unknown;
            let of = |owner| crate::model::event::Process { pid, comm: Comm::new(comm), ..owner };
            event.owner = event.owner.take().map(of);
            tracker.apply(&mut event);
        }
    }
    let facts = super::of_snapshot(&tracker.snapshot(By::ALL));
    let told: Vec<_> = facts.namespaces[0]
        .binds
        .iter()
        .map(|bind| (bind.port, bind.caller.comm.as_str(), bind.failed))
        .collect();
    assert_eq!(told, [(8080, "apache2", 3), (8080, "nginx", 2)]);
}

/// Sockets and calls of processes for which the engine had no room, or which it has forgotten.
#[test]
fn what_no_process_is_known_of_is_nobodys() {
    let mut tracker = tracker(200, 7);
    for _ in 0..5 {
        let mut event = event(Kind::BindFailed, 11 * SECOND_NS, 8080);
        event.role = Role::Unknown;
        tracker.apply(&mut event);
    }
    let mut snapshot = tracker.snapshot(By::ALL);
    snapshot.tuples.iter_mut().for_each(|row| row.shares.clear());
    snapshot.not_bound[0].shares.clear();
    let facts = super::of_snapshot(&snapshot);
    let netns = &facts.namespaces[0];
    let told = &netns.tuples[0].shares;
    let told: Vec<_> = told.iter().map(|share| (share.process.pid, share.time_wait, share.failed)).collect();
    assert_eq!(told, [(None, 200, 7)]);
    assert_eq!((netns.binds[0].port, netns.binds[0].caller.pid, netns.binds[0].failed), (8080, None, 5));
    let lines = glance(&snapshot, &[], None);
    assert!(lines.iter().all(|line| line.headline.starts_with("unknown process cannot")), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn calls_that_fail_for_another_reason_than_ports_say_nothing_of_ports() {
    for (kind, errno, is_of_ports) in [
        (Kind::ConnectFailed, Errno::ConnRefused, false),
        (Kind::ConnectFailed, Errno::AddrNotAvail, true),
        (Kind::BindFailed, Errno::AddrNotAvail, false),
        (Kind::BindFailed, Errno::AddrInUse, true),
    ] {
        let mut tracker = tracker(13, 0);
        for _ in 0..7 {
            let mut event = event(kind, 12 * SECOND_NS, 8080);
            event.errno = Some(errno);
            tracker.apply(&mut event);
        }
        tracker.advance(13 * SECOND_NS);
        for wanted in [&[By::Process][..], By::ALL] {
            let snapshot = tracker.snapshot(wanted);
            let meaning = snapshot.processes[0].pattern.to_string();
            assert_eq!(glance(&snapshot, &[], None).is_empty(), !is_of_ports, "{kind} {errno}");
            assert_eq!(meaning.contains("not for want of a port"), !is_of_ports, "{errno}: {meaning}");
        }
    }
}

#[test]
fn what_fails_otherwise_now_wakes_no_want_of_ports_of_long_ago() {
    for (kind, errno) in [(Kind::ConnectFailed, Errno::ConnRefused), (Kind::BindFailed, Errno::AddrNotAvail)]
    {
        let mut tracker = tracker(13, 0);
        let fail = |tracker: &mut Tracker, at_s: u64, errno| {
            tracker.advance(at_s * SECOND_NS);
            let mut event = event(kind, at_s * SECOND_NS, 8080);
            event.errno = Some(errno);
            tracker.apply(&mut event);
        };
        fail(&mut tracker, 12, if kind == Kind::BindFailed { Errno::AddrInUse } else { Errno::AddrNotAvail });
        (100..107).for_each(|at_s| fail(&mut tracker, at_s, errno));
        tracker.advance(108 * SECOND_NS);
        for wanted in [&[By::Process][..], By::ALL] {
            assert!(glance(&tracker.snapshot(wanted), &[], None).is_empty(), "{kind}");
        }
    }
}

#[test]
fn ports_that_connect_may_take_over_do_not_run_out() {
    let told = |tw_reuse, daddr: &str| {
        let mut tracker = Tracker::new();
        tracker.advance(SECOND_NS);
        let settings = Settings { tw_reuse: Some(tw_reuse), timestamps: Some(1), ..allowed() };
        tracker.set_capacity(7, Capacity { name: None, settings });
        for at in 0..170 {
            let mut event = event(Kind::Created, 9 * SECOND_NS, 40_000 + at);
            event.conn = event.conn.map(|conn| Conn { daddr: daddr.parse().unwrap(), ..conn });
            tracker.apply(&mut event);
        }
        tracker.advance(12 * SECOND_NS);
        let found = glance(&tracker.snapshot(&[By::Process, By::Tuple, By::Netns]), &[], None);
        found.iter().map(|line| line.id).collect::<Vec<_>>()
    };
    assert_eq!(told(2, "127.0.0.1"), ["loopback_backend"]);
    assert_eq!(told(0, "127.0.0.1"), ["ports_running_out"]);
    // Whether the other end has timestamps is not known.
    assert_eq!(told(1, "10.0.0.9"), ["ports_running_out"]);
}

#[test]
fn what_failed_long_ago_is_not_told_for_ever() {
    let mut tracker = tracker(13, 7);
    let ids = |tracker: &Tracker| glance(&tracker.snapshot(By::ALL), &[], None).len();
    assert_eq!(ids(&tracker), 1);
    tracker.advance(90 * SECOND_NS);
    assert_eq!(ids(&tracker), 0);
}

#[test]
fn events_alone_tell_who_holds_what() {
    let mut tracker = Tracker::new();
    tracker.keep_failures();
    fill(&mut tracker, 13, 0);
    for sport in [0, 40_009] {
        tracker.apply(&mut event(Kind::ConnectFailed, 9 * SECOND_NS, sport));
    }
    tracker.apply(&mut event(Kind::Overflow, 9 * SECOND_NS, 40_100));
    let (all, _) = crate::diagnose::facts::count::namespaces(&tracker.engine);
    assert_eq!((all[0].netns, all[0].created, all[0].overflow, all[0].settings.ports), (7, 13, 1, Some(200)));
    let tuple = &all[0].tuples[0];
    assert_eq!((tuple.now.time_wait, tuple.created, tuple.failed, tuple.failed_bound), (13, 13, 1, 1));
    let share = &tuple.shares[0];
    assert_eq!((share.process.comm.as_str(), share.time_wait, share.failed), ("checkout-api", 13, 2));
    assert_eq!(share.habits.map(|habits| habits.as_client), Some(13));
}

#[test]
fn failures_are_of_the_minute_that_they_are_said_to_be_of() {
    let mut tracker = tracker(13, 2);
    tracker.advance(61 * SECOND_NS);
    for (kind, sport) in [(Kind::ConnectFailed, 0), (Kind::ConnectFailed, 0), (Kind::Overflow, 40_100)] {
        (0..3).for_each(|_| drop(tracker.apply(&mut event(kind, 61 * SECOND_NS, sport))));
    }
    tracker.advance(61 * SECOND_NS + SECOND_NS / 2);
    let (facts, findings) = crate::diagnose::examine(&tracker.snapshot(By::ALL), &[], None);
    let [netns] = &facts.namespaces[..] else { panic!("{facts:?}") };
    // Those of this very second are among all of them as they are among those of the process.
    assert_eq!((netns.tuples[0].failed, netns.tuples[0].shares[0].failed, netns.overflow), (8, 8, 3));
    let page = crate::diagnose::text::report_in(&facts, &findings, 80);
    assert!(page.starts_with("twtrace doctor: 2 findings in 10.0s (failures: in 1m00s), "), "{page}");
    let overflow = findings.iter().find(|finding| finding.id == "table_overflow").unwrap();
    let rate = overflow.evidence.iter().find(|evidence| evidence.what.ends_with("wanted a second")).unwrap();
    assert_eq!(rate.value.to_string(), "0.05");
}

#[test]
fn a_trace_that_is_younger_says_so() {
    let mut tracker = Tracker::new();
    tracker.advance(SECOND_NS);
    tracker.set_capacity(7, Capacity { name: None, settings: allowed() });
    (0..180).for_each(|at| drop(tracker.apply(&mut event(Kind::Created, 2 * SECOND_NS, 40_000 + at))));
    tracker.advance(4 * SECOND_NS);
    let (facts, findings) = crate::diagnose::examine(&tracker.snapshot(By::ALL), &[], None);
    assert_eq!(facts.namespaces[0].tuples[0].created, 180);
    let page = crate::diagnose::text::report_in(&facts, &findings, 80);
    assert!(page.starts_with("twtrace doctor: 1 finding in 3.0s (failures: in 4.0s), "), "{page}");
}

#[test]
fn a_failure_without_a_source_address_is_judged_by_what_was_held_then() {
    let mut tracker = tracker(200, 0);
    for _ in 0..7 {
        let mut event = event(Kind::ConnectFailed, 12 * SECOND_NS, 0);
        event.conn = event.conn.map(|conn| Conn { saddr: "0.0.0.0".parse().unwrap(), ..conn });
        tracker.apply(&mut event);
    }
    for (left, at_s) in [(200, 13), (13, 30), (0, 60)] {
        for port in left..200 {
            tracker.apply(&mut event(Kind::Ended, at_s * SECOND_NS, 40_000 + port));
        }
        tracker.advance((at_s + 1) * SECOND_NS);
        let told = glance(&tracker.snapshot(By::ALL), &[], None);
        let told: Vec<_> = told.iter().map(|line| line.id).collect();
        assert_eq!(told, ["ports_exhausted"], "{left} left");
    }
}

#[test]
fn everybody_whose_calls_had_no_source_address_yet_is_counted() {
    let mut tracker = tracker(200, 0);
    for pid in [101, 103, 107, 109, 113] {
        let mut event = event(Kind::ConnectFailed, 12 * SECOND_NS, 0);
        event.conn = event.conn.map(|conn| Conn { saddr: "0.0.0.0".parse().unwrap(), ..conn });
        event.owner = event.owner.map(|owner| crate::model::event::Process { pid, ..owner });
        tracker.apply(&mut event);
    }
    let (_, findings) = crate::diagnose::examine(&tracker.snapshot(By::ALL), &[], None);
    let finding = findings.iter().find(|finding| finding.id == "ports_exhausted").unwrap();
    assert!(finding.headline.contains("] +4 cannot connect"), "{}", finding.headline);
}

#[test]
fn sockets_refused_long_ago_are_not_among_what_fails_now() {
    let mut tracker = tracker(13, 0);
    (0..3).for_each(|_| drop(tracker.apply(&mut event(Kind::Overflow, 12 * SECOND_NS, 40_100))));
    tracker.advance(100 * SECOND_NS);
    (0..5).for_each(|_| drop(tracker.apply(&mut event(Kind::ConnectFailed, 100 * SECOND_NS, 0))));
    tracker.advance(101 * SECOND_NS);
    let (facts, _) = crate::diagnose::examine(&tracker.snapshot(By::ALL), &[], None);
    let [netns] = &facts.namespaces[..] else { panic!("{facts:?}") };
    assert_eq!((netns.tuples[0].failed, netns.overflow), (5, 0));
}
