//! Owns: facts as a live view has them: the last ten seconds of whatever tables its snapshot has.
//! Must not know: where its events came from.

use std::collections::HashMap;

use super::count::named;
use super::samples::Sample;
use super::{BindFailure, Facts, Netns, Process, Settings, Share, Source, Tuple};
use crate::engine::{Capacity, Failing, Figures, NetnsRow, ProcessKey, Snapshot, TupleRow};

/// What a live view calls now, in seconds.
const NOW_S: f64 = 10.0;

/// What failed longer ago is told no more, in nanoseconds: as [`lately`] has it.
const LATELY_NS: u64 = 60_000_000_000;

/// What a live view knows of the last ten seconds, in whatever tables its snapshot has. Cheap: nothing is asked of the
/// kernel, and no table is built.
pub fn of_snapshot(snapshot: &Snapshot) -> Facts {
    let lost = snapshot.total.counts.loss.events();
    let mut facts =
        Facts { source: Source::View, observed_ms: (NOW_S * 1000.0) as u64, lost, ..Facts::default() };
    let hottest = snapshot.hottest.as_ref().filter(|_| snapshot.tuples.is_empty());
    let mut namespaces: HashMap<u32, Netns> = HashMap::new();
    for row in &snapshot.netns {
        let mut netns = namespace(row);
        netns.created = recent(row.figures.created_rate.s10, NOW_S);
        netns.overflow = lately(&row.figures, row.figures.counts.overflow);
        namespaces.insert(row.key, netns);
    }
    // Of the others there may be thousands.
    for row in snapshot.tuples.iter().filter(|row| row.may_press()).chain(hottest) {
        let mut tuple = tuple(row, shares(row));
        let hidden = Share { time_wait: row.hidden.into(), ..Share::default() };
        tuple.shares.extend((row.hidden != 0).then_some(hidden));
        tuple.more_callers = row.failing.map_or(0, |failing| failing.others);
        tuple.created = recent(row.figures.created_rate.s10, NOW_S);
        tuple.ended = recent(row.figures.ended_rate.s10, NOW_S);
        let has_wanted = row.figures.wanted_ns.saturating_add(LATELY_NS) >= snapshot.now_ns;
        tuple.failed = if has_wanted { lately(&row.figures, tuple.failed) } else { 0 };
        // The fullest there ever was may be long ago: what held ports when the last call failed is what it failed for.
        let then = row.figures.wanted_held;
        tuple.peak = if tuple.failed != 0 && then.all() > tuple.now.all() { then } else { tuple.now };
        let fresh = || Netns { netns: row.key.netns, ..Netns::default() };
        let netns = namespaces.entry(row.key.netns).or_insert_with(fresh);
        // The pool itself says how many ports there are, where the namespace's row is not in the picture.
        netns.settings.ports = netns.settings.ports.or(row.pressure.map(|pressure| pressure.ports));
        netns.tuples.push(tuple);
    }
    for (key, failing) in &snapshot.not_bound {
        let fresh = || Netns { netns: key.netns, ..Netns::default() };
        let netns = namespaces.entry(key.netns).or_insert_with(fresh);
        netns.binds.push(BindFailure {
            port: key.sport,
            failed: failing.failed,
            caller: caller(&failing.process),
            ..BindFailure::default()
        });
    }
    facts.namespaces = namespaces.into_values().collect();
    facts.namespaces.sort_by_key(|netns| netns.netns);
    facts.namespaces.iter_mut().for_each(|netns| super::join::settle(netns, &Sample::default()));
    facts.count_a_part(snapshot.part.clone());
    facts
}

fn namespace(row: &NetnsRow) -> Netns {
    Netns {
        netns: row.key,
        name: row.capacity.as_ref().and_then(|capacity| capacity.name.clone()),
        settings: row.capacity.as_ref().map(of_ports).unwrap_or_default(),
        time_wait: row.figures.live,
        peak_time_wait: row.figures.peak_live,
        ..Netns::default()
    }
}

/// A view speaks of what happens; whether a setting is a good one is for the doctor, who was asked.
fn of_ports(capacity: &Capacity) -> Settings {
    Settings { rfc1337: None, fin_timeout_s: None, ..capacity.settings.clone() }
}

fn tuple(row: &TupleRow, shares: Vec<Share>) -> Tuple {
    let Figures { counts, otherwise, live, peak_live, .. } = &row.figures;
    let now = row.held();
    let failed = counts.connect_failed.saturating_sub(otherwise.connect);
    Tuple { shares, now, failed, ..Tuple::counted(&row.key, counts, (*live, *peak_live), now.all()) }
}

fn caller(key: &ProcessKey) -> Process {
    if key.is_unknown() { Process::default() } else { named(key) }
}

/// Who holds a pool, and who finds no port in it.
fn shares(row: &TupleRow) -> Vec<Share> {
    let known = || row.holders.iter().filter(|(process, _)| !process.is_unknown());
    let mut all: Vec<Share> = known()
        .map(|(process, live)| Share { process: named(process), time_wait: *live, ..Share::default() })
        .collect();
    if let Some(Failing { process, failed, .. }) = row.failing {
        match known().position(|(of, _)| *of == process) {
            Some(at) => all[at].failed = failed,
            None => all.push(Share { process: caller(&process), failed, ..Share::default() }),
        }
    }
    all
}

fn recent(rate: f64, seconds: f64) -> u64 {
    (rate * seconds).round() as u64
}

/// What failed within the last minute; the rate counts failures of all kinds together.
fn lately(figures: &Figures, count: u64) -> u64 {
    count.min(recent(figures.failed_rate.s60, 60.0))
}

#[cfg(test)]
mod tests {
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
        let calls = (0..live)
            .map(|at| (Kind::Created, 40_000 + at))
            .chain((0..failed).map(|_| (Kind::ConnectFailed, 0)));
        for (kind, sport) in calls {
            tracker.apply(&mut event(kind, 9 * SECOND_NS, sport));
        }
        tracker.advance(12 * SECOND_NS);
    }

    #[test]
    fn a_live_view_shows_what_the_doctor_would_find() {
        let told = |live, failed, wanted: &[By]| {
            let snapshot = tracker(live, failed).snapshot(wanted);
            glance(&snapshot, &[]).iter().map(|line| line.id).collect::<Vec<_>>()
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
            let findings = glance(&tracker.snapshot(By::ALL), &[]);
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
            assert_eq!(held, [("cli-A", 67), ("cli-B", 67)], "{wanted:?}");
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
                assert_eq!(glance(&snapshot, &[]).is_empty(), !is_of_ports, "{kind} {errno}");
                assert_eq!(meaning.contains("not for want of a port"), !is_of_ports, "{errno}: {meaning}");
            }
        }
    }

    #[test]
    fn what_fails_otherwise_now_wakes_no_want_of_ports_of_long_ago() {
        for (kind, errno) in
            [(Kind::ConnectFailed, Errno::ConnRefused), (Kind::BindFailed, Errno::AddrNotAvail)]
        {
            let mut tracker = tracker(13, 0);
            let fail = |tracker: &mut Tracker, at_s: u64, errno| {
                tracker.advance(at_s * SECOND_NS);
                let mut event = event(kind, at_s * SECOND_NS, 8080);
                event.errno = Some(errno);
                tracker.apply(&mut event);
            };
            fail(
                &mut tracker,
                12,
                if kind == Kind::BindFailed { Errno::AddrInUse } else { Errno::AddrNotAvail },
            );
            (100..107).for_each(|at_s| fail(&mut tracker, at_s, errno));
            tracker.advance(108 * SECOND_NS);
            for wanted in [&[By::Process][..], By::ALL] {
                assert!(glance(&tracker.snapshot(wanted), &[]).is_empty(), "{kind}");
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
            let found = glance(&tracker.snapshot(&[By::Process, By::Tuple, By::Netns]), &[]);
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
        let ids = |tracker: &Tracker| glance(&tracker.snapshot(By::ALL), &[]).len();
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
        assert_eq!(
            (all[0].netns, all[0].created, all[0].overflow, all[0].settings.ports),
            (7, 13, 1, Some(200))
        );
        let tuple = &all[0].tuples[0];
        assert_eq!((tuple.now.time_wait, tuple.created, tuple.failed, tuple.failed_bound), (13, 13, 1, 1));
        let share = &tuple.shares[0];
        assert_eq!((share.process.comm.as_str(), share.time_wait, share.failed), ("checkout-api", 13, 2));
        assert_eq!(share.habits.map(|habits| habits.as_client), Some(13));
    }
}
