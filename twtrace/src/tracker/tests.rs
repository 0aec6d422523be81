//! Table tests of the tracker: scripted events, no clock.

mod bounds;
mod rows;
mod script;

use std::net::{IpAddr, Ipv4Addr};

use super::{Seed, Tracker};
use crate::event::{Comm, Conn, Event, Kind, Loss, Process, Reason, Role, Substate, Via};

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
    assert_eq!((tracker.live(), tracker.live_in(7)), (0, 0));
    assert_eq!((tracker.total().created, tracker.total().ended_for(Reason::Expired)), (1, 1));
}

#[test]
fn a_socket_that_was_there_before_ends_without_a_birth() {
    let mut tracker = Tracker::new();
    tracker.seed([seed(1, 11), seed(2, 12)]);
    assert_eq!(tracker.live_in(7), 2);
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

#[test]
fn an_end_of_an_unknown_socket_changes_no_live_count() {
    let mut tracker = Tracker::new();
    tracker.seed([seed(1, 11)]);
    tracker.apply(&mut ended(5, 3));
    assert_eq!((tracker.live(), tracker.live_in(7), tracker.total().ended()), (1, 1, 1));
}

#[test]
fn the_end_of_an_earlier_connection_with_the_same_ports_ends_no_other() {
    let mut tracker = Tracker::new();
    // A namespace's inode is used again while its old sockets are still being purged.
    tracker.apply(&mut created(1, 1, 11));
    tracker.apply(&mut created(2, 1, 12));
    let mut end = ended(3, 1);
    end.cookie = Some(11);
    tracker.apply(&mut end);
    assert_eq!((end.owner, tracker.live(), tracker.total().ended()), (None, 1, 1));
    end.cookie = Some(12);
    tracker.apply(&mut end);
    assert_eq!((end.owner.map(|owner| owner.pid), tracker.live()), (Some(42), 0));
}

#[test]
fn a_birth_after_its_listing_is_counted_once_and_names_the_owner() {
    let mut tracker = Tracker::new();
    tracker.seed([seed(1, 11)]);
    tracker.apply(&mut created(5, 1, 11));
    assert_eq!((tracker.live(), tracker.live_in(7)), (1, 1));
    let mut end = ended(9, 1);
    tracker.apply(&mut end);
    assert_eq!(end.owner.map(|owner| owner.pid), Some(42));
}

#[test]
fn a_listing_after_a_loss_drops_what_is_gone_and_keeps_owners() {
    let mut tracker = Tracker::new();
    for sport in 1..=5 {
        tracker.apply(&mut created(5, sport, u64::from(sport)));
    }
    tracker.begin_listing();
    // 1 and 2 are still there, 3 was used again, 6 is new; 4 and 5 are gone.
    tracker.seed([seed(1, 1), seed(2, 2), seed(3, 33), seed(6, 6)]);
    // Born after the listing, before the comparison ends.
    tracker.apply(&mut created(6, 8, 8));
    assert_eq!(tracker.forget_unlisted(|netns| netns == 7), 2);
    let mut ports: Vec<u16> = tracker.sockets().map(|(conn, _)| conn.sport).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3, 6, 8]);
    let owner =
        |port| tracker.sockets().find(|(conn, _)| conn.sport == port).and_then(|(_, live)| live.owner);
    assert!(owner(1).is_some());
    assert!(owner(3).is_none(), "another connection's owner must not be kept");
}

#[test]
fn namespaces_that_could_not_be_listed_keep_their_sockets() {
    let mut tracker = Tracker::new();
    tracker.apply(&mut created(5, 1, 1));
    tracker.begin_listing();
    assert_eq!(tracker.forget_unlisted(|netns| netns != 7), 0);
    assert_eq!(tracker.live(), 1);
}

#[test]
fn losses_add_up() {
    let mut tracker = Tracker::new();
    for count in [3, 4] {
        let mut event = Event::new(Kind::Lost, 1, None);
        event.loss = Some(Loss { created: count, ..Loss::default() });
        tracker.apply(&mut event);
    }
    assert_eq!((tracker.total().loss.events(), tracker.total().events()), (7, 0));
}
