//! Table tests of the tracker: scripted events, no clock.

mod bounds;
mod named;
mod replaced;
mod rows;
mod script;

use std::net::{IpAddr, Ipv4Addr};

use super::{Applied, Seed, Tracker};
use crate::model::event::{Comm, Conn, Event, Kind, Loss, Process, Reason, Role, Substate, Via};

fn conn(sport: u16) -> Conn {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Conn { netns: 7, ifindex: 0, saddr: here, daddr: here, sport, dport: 80 }
}

fn created(mono_ns: u64, sport: u16, cookie: u64) -> Event {
    let mut event = Event::new(Kind::Created, mono_ns, Some(conn(sport)));
    event.role = Role::Client;
    event.substate = Some(Substate::TimeWait);
    event.timeout_ms = Some(60_000);
    event.cookie = Some(cookie);
    event.via = Some(Via::Close);
    let comm = Comm::new("curl");
    event.owner = Some(Process { pid: 42, tid: 43, uid: 1000, cgroup_id: 5, start_ns: 9, comm });
    event
}

fn ended(mono_ns: u64, sport: u16) -> Event {
    let mut event = Event::new(Kind::Ended, mono_ns, Some(conn(sport)));
    event.reason = Some(Reason::Expired);
    event
}

fn seed(sport: u16, cookie: u64) -> Seed {
    Seed {
        conn: conn(sport),
        cookie: Some(cookie),
        substate: Substate::TimeWait,
        role: Role::Unknown,
        ends_ns: 60,
    }
}

#[test]
fn an_end_learns_its_owner_and_lifetime_from_the_birth() {
    let mut tracker = Tracker::new();
    tracker.apply(&mut created(1_000, 1, 11));
    let mut end = ended(61_000, 1);
    tracker.apply(&mut end);
    assert_eq!(end.owner.map(|owner| (owner.pid, owner.tid)), Some((42, 43)));
    assert_eq!((end.role, end.via, end.lifetime_ns), (Role::Client, Some(Via::Close), Some(60_000)));
    assert_eq!((tracker.live(), live_in(&tracker, 7)), (0, 0));
    assert_eq!((tracker.total().created, tracker.total().ended_for(Reason::Expired)), (1, 1));
}

#[test]
fn a_socket_that_was_there_before_ends_without_a_birth() {
    let mut tracker = Tracker::new();
    tracker.seed([seed(1, 11), seed(2, 12)]);
    assert_eq!(live_in(&tracker, 7), 2);
    let mut end = ended(5, 1);
    tracker.apply(&mut end);
    assert_eq!((end.owner, end.via, end.lifetime_ns, end.cookie), (None, Some(Via::None), None, Some(11)));
    assert_eq!((tracker.live(), tracker.total().created), (1, 0));
}

/// Of a recording that goes on from another file: the socket was listed, its end was told whole.
#[test]
fn an_end_that_knows_its_owner_keeps_it() {
    let mut tracker = Tracker::new();
    tracker.seed([seed(1, 11)]);
    let mut end = Event { kind: Kind::Ended, lifetime_ns: Some(7), ..created(5, 1, 11) };
    let told = end.clone();
    tracker.apply(&mut end);
    assert_eq!((end, tracker.live()), (told, 0));
}

fn live_in(tracker: &Tracker, netns: u32) -> u64 {
    tracker.by_netns().get(&netns).map_or(0, |(_, live)| *live)
}

/// What lives is what was created or listed and has not ended, whatever was lost.
fn adds_up(tracker: &Tracker) {
    let total = tracker.total();
    assert_eq!(total.created + total.listed - total.ended(), tracker.live() as u64);
    assert_eq!(tracker.live(), tracker.sockets().count());
}

#[test]
fn an_end_of_an_unknown_socket_tells_the_socket_first() {
    let mut tracker = Tracker::new();
    tracker.seed([seed(1, 11)]);
    let mut end = Event { cookie: Some(33), ..ended(5, 3) };
    let applied = tracker.apply(&mut end);
    let [before] = &applied.before[..] else { panic!("{applied:?}") };
    assert_eq!(
        (before.kind, before.conn, before.cookie, before.mono_ns),
        (Kind::Listed, end.conn, Some(33), 5)
    );
    assert_eq!((end.via, before.via, applied.is_new), (Some(Via::None), Some(Via::None), true));
    assert_eq!(
        (tracker.live(), live_in(&tracker, 7), tracker.total().ended(), tracker.total().listed),
        (1, 1, 1, 2)
    );
    adds_up(&tracker);
}

#[test]
fn whose_end_was_a_syn_for_a_listener_was_a_servers() {
    let roles = |reason: Reason, role: Role| {
        let mut end = Event { reason: Some(reason), role, ..ended(5, 3) };
        let before = Tracker::new().apply(&mut end).before.remove(0);
        (before.role, end.role)
    };
    assert_eq!(roles(Reason::ReusedIncoming, Role::Unknown), (Role::Server, Role::Server));
    assert_eq!(roles(Reason::ReusedIncoming, Role::Client), (Role::Client, Role::Client));
    let others = Reason::ALL.iter().copied().filter(|reason| *reason != Reason::ReusedIncoming);
    for reason in others {
        assert_eq!(roles(reason, Role::Unknown), (Role::Unknown, Role::Unknown), "{reason:?}");
    }
}

#[test]
fn a_birth_in_the_place_of_another_socket_tells_that_ones_end_first_and_only_once() {
    let mut tracker = Tracker::new();
    tracker.apply(&mut created(1, 1, 11));
    let before = tracker.apply(&mut created(2, 1, 12)).before.remove(0);
    assert_eq!((before.kind, before.reason, before.cookie), (Kind::Ended, Some(Reason::Missed), Some(11)));
    assert_eq!((before.owner.map(|owner| owner.pid), before.lifetime_ns), (Some(42), Some(1)));
    // A namespace's inode is used again while its old sockets are still being purged.
    let late = tracker.apply(&mut Event { cookie: Some(11), ..ended(3, 1) });
    assert_eq!(
        (late, tracker.live(), tracker.total().ended()),
        (Applied { before: Vec::new(), is_new: false }, 1, 1)
    );
    let mut end = Event { cookie: Some(12), ..ended(3, 1) };
    assert!(tracker.apply(&mut end).is_new);
    assert_eq!((end.owner.map(|owner| owner.pid), tracker.live()), (Some(42), 0));
    adds_up(&tracker);
}

#[test]
fn a_listed_socket_that_is_known_is_no_news_and_keeps_its_owner() {
    let mut tracker = Tracker::new();
    tracker.apply(&mut created(5, 1, 11));
    tracker.apply(&mut created(5, 3, 3));
    assert!(!tracker.apply(&mut seed(1, 11).event(6)).is_new);
    // The ports were used again, and nobody saw it.
    let applied = tracker.apply(&mut seed(3, 33).event(6));
    assert_eq!(
        applied.before.iter().map(|before| (before.cookie, before.reason)).collect::<Vec<_>>(),
        [(Some(3), Some(Reason::Missed))]
    );
    let owner =
        |port| tracker.sockets().find(|(conn, _)| conn.sport == port).and_then(|(_, live)| live.owner);
    assert!(owner(1).is_some());
    assert!(owner(3).is_none(), "another connection's owner must not be kept");
    assert_eq!((tracker.total().listed, tracker.live()), (1, 2));
    adds_up(&tracker);
}

#[test]
fn a_listed_socket_brings_what_is_known_of_it() {
    let mut tracker = Tracker::new();
    tracker.apply(&mut created(1_000_000, 1, 11));
    let (conn, live) = tracker.sockets().next().unwrap();
    let listed = live.event(conn, 9_000_000);
    assert_eq!((listed.timeout_ms, listed.lifetime_ns), (Some(59_992), Some(8_000_000)));
    let mut other = Tracker::new();
    other.apply(&mut listed.clone());
    assert_eq!(other.sockets().next().map(|(_, live)| live), Some(live));
    let mut end = ended(61_000_000, 1);
    other.apply(&mut end);
    assert_eq!((end.owner.map(|owner| owner.pid), end.lifetime_ns), (Some(42), Some(60_000_000)));
}

#[test]
fn what_is_past_its_end_is_asked_after_and_told_as_missed() {
    let mut tracker = Tracker::new();
    for sport in 1..=3 {
        tracker.apply(&mut created(u64::from(sport) * 1_000_000_000, sport, u64::from(sport)));
    }
    let mut late = tracker.overdue(63_000_000_000, 9);
    late.sort_unstable_by_key(|(_, cookie)| *cookie);
    assert_eq!(late, [(conn(1), Some(1)), (conn(2), Some(2))]);
    let ends_ns = |sport| tracker.socket(&conn(sport)).map(|live| live.ends_ns);
    assert_eq!((ends_ns(1), ends_ns(2)), (Some(61_000_000_000), Some(62_000_000_000)));
    // Its timer was armed anew; another socket's renewal is not its own.
    assert!(tracker.renew(&Seed { ends_ns: 99_000_000_000, ..seed(1, 1) }) && !tracker.renew(&seed(2, 22)));
    assert_eq!(tracker.overdue(63_000_000_000, 9).len(), 1);
    let missed = tracker.miss(&conn(2), 64_000_000_000).unwrap();
    assert_eq!(
        (missed.reason, missed.cookie, missed.lifetime_ns),
        (Some(Reason::Missed), Some(2), Some(62_000_000_000))
    );
    assert_eq!((tracker.miss(&conn(2), 65_000_000_000), tracker.live()), (None, 2));
    assert_eq!(tracker.total().ended_for(Reason::Missed), 1);
    adds_up(&tracker);
}

/// However soon a timer runs out, whether it was armed so or found so later.
#[test]
fn none_that_is_past_its_end_is_overlooked() {
    let mut tracker = Tracker::new();
    tracker.apply(&mut created(1_000_000_000, 1, 1));
    assert_eq!(tracker.overdue(60_000_000_000, 9), []);
    assert!(tracker.renew(&Seed { ends_ns: 50_000_000_000, ..seed(1, 1) }));
    assert_eq!(tracker.overdue(55_000_000_000, 9), [(conn(1), Some(1))]);
    let mut short = created(2_000_000_000, 2, 2);
    short.timeout_ms = Some(7_000);
    tracker.apply(&mut short);
    assert_eq!(tracker.overdue(9_000_000_001, 9), [(conn(2), Some(2))]);
}

#[test]
fn what_a_listing_did_not_show_is_what_was_there_and_not_in_it() {
    let mut tracker = Tracker::new();
    (1..=3).for_each(|sport| drop(tracker.apply(&mut created(10, sport, sport.into()))));
    tracker.begin_listing();
    assert!(tracker.list(&seed(1, 1)) && !tracker.list(&seed(2, 22)) && !tracker.list(&seed(4, 4)));
    tracker.apply(&mut seed(4, 4).event(20));
    // Born after it began; asked after by itself, which does not make it one that was shown.
    tracker.apply(&mut created(30, 5, 5));
    assert!(tracker.renew(&seed(3, 3)));
    let hidden = |tracker: &Tracker| {
        let mut all: Vec<_> = tracker.not_listed(20).map(|(conn, cookie)| (conn.sport, cookie)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(hidden(&tracker), [(2, Some(2)), (3, Some(3))]);
    tracker.begin_listing();
    assert_eq!(hidden(&tracker).len(), 4, "each listing begins anew");
}

#[test]
fn losses_add_up() {
    let mut tracker = Tracker::new();
    for count in [3, 4] {
        let mut event = Event::new(Kind::Lost, 1, None);
        event.loss = Some(Box::new(Loss { created: count, ..Loss::default() }));
        tracker.apply(&mut event);
    }
    assert_eq!((tracker.total().loss.events(), tracker.total().events()), (7, 0));
}

#[test]
fn where_rows_are_not_counted_all_else_is_as_ever() {
    let after = |tracker: Tracker| {
        let mut script = script::Script::new(tracker);
        let (one, two) = (script::client(1, "10.0.1.1", 443), script::server(2, "10.0.1.2"));
        script.at(1.0).born(&one, 40_000..40_101).born(&two, [443]);
        script.at(2.0).ended(&one, 40_000..40_053, Reason::Expired).ended(
            &two,
            [443],
            Reason::ReusedIncoming,
        );
        script.fails(&one, Kind::ConnectFailed, 0, 7).fails(&two, Kind::BindFailed, 443, 3);
        // Known already, and known to nobody.
        script.born(&one, [40_100]).ended(&one, [40_007], Reason::Killed);
        let netns: Vec<_> = script.tracker.by_netns().into_iter().collect();
        let mut live: Vec<_> =
            script.tracker.sockets().map(|(conn, live)| (conn.sport, live.owner, live.ends_ns)).collect();
        live.sort_by_key(|(sport, ..)| *sport);
        (netns, live, script.tracker.total(), script.tracker.live())
    };
    let mut lean = Tracker::new();
    lean.count_by_netns();
    let (full, lean) = (after(Tracker::new()), after(lean));
    assert_eq!((lean.3, lean.2.events()), (48, 102 + 1 + 54 + 1 + 10 + 1));
    assert_eq!(lean, full);
}
