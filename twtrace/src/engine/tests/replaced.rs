//! Owns: a connection's sockets one after the other, where some of their events were lost or come late: each is told once, and none is
//! made up.

use super::{adds_up, conn, created, ended, seed};
use crate::engine::Tracker;
use crate::engine::unknown::MOST;
use crate::model::event::{Event, Kind, Reason};

/// Kind, cookie, reason.
type Told = (Kind, Option<u64>, Option<Reason>);

const MISSED: Option<Reason> = Some(Reason::Missed);
const EXPIRED: Option<Reason> = Some(Reason::Expired);

/// All that is told where an event comes, in order.
fn all_told(tracker: &mut Tracker, mut event: Event) -> Vec<Event> {
    let applied = tracker.apply(&mut event);
    let mut told = applied.before;
    told.extend(applied.is_new.then_some(event));
    told
}

fn told(tracker: &mut Tracker, event: Event) -> Vec<Told> {
    all_told(tracker, event).iter().map(|event| (event.kind, event.cookie, event.reason)).collect()
}

fn end_of(mono_ns: u64, cookie: u64) -> Event {
    Event { cookie: Some(cookie), ..ended(mono_ns, 1) }
}

#[test]
fn an_end_whose_birth_was_lost_with_the_end_before_it_tells_of_both_sockets() {
    let mut tracker = Tracker::new();
    let mut all = all_told(&mut tracker, created(1, 1, 11));
    // Lost: the end of 11 and the birth of 12.
    all.extend(all_told(&mut tracker, end_of(9, 12)));
    let what: Vec<Told> = all.iter().map(|event| (event.kind, event.cookie, event.reason)).collect();
    assert_eq!(
        what,
        [
            (Kind::Created, Some(11), None),
            (Kind::Ended, Some(11), MISSED),
            (Kind::Listed, Some(12), None),
            (Kind::Ended, Some(12), EXPIRED)
        ]
    );
    // Nobody knows who owned the second one.
    let owners: Vec<_> = all.iter().map(|event| event.owner.map(|owner| owner.pid)).collect();
    assert_eq!(owners, [Some(42), Some(42), None, None]);
    assert_eq!((tracker.total().created, tracker.total().listed, tracker.total().ended()), (1, 1, 2));
    assert_eq!(tracker.live(), 0);
    adds_up(&tracker);
    // A recording of what was told counts the same.
    let mut replayed = Tracker::new();
    for event in all {
        assert_eq!(all_told(&mut replayed, event.clone()), [event]);
    }
    assert_eq!(replayed.total(), tracker.total());
}

#[test]
fn ends_that_come_late_are_not_told_again_however_many_took_their_place() {
    let mut tracker = Tracker::new();
    for cookie in [11, 12, 13] {
        told(&mut tracker, created(cookie, 1, cookie));
    }
    assert_eq!(told(&mut tracker, end_of(20, 12)), []);
    assert_eq!(told(&mut tracker, end_of(21, 11)), []);
    assert_eq!((tracker.live(), tracker.total().ended_for(Reason::Missed)), (1, 2));
    assert_eq!(told(&mut tracker, end_of(22, 13)), [(Kind::Ended, Some(13), EXPIRED)]);
    adds_up(&tracker);
}

#[test]
fn an_end_that_comes_after_its_socket_was_asked_after_in_vain_is_not_told_again() {
    let mut tracker = Tracker::new();
    told(&mut tracker, created(1, 1, 11));
    assert!(tracker.miss(&conn(1), 5).is_some());
    told(&mut tracker, created(6, 1, 12));
    assert_eq!(told(&mut tracker, end_of(7, 11)), []);
    assert!(tracker.knows(&conn(1)), "12 lives");
    assert!(tracker.miss(&conn(1), 8).is_some());
    assert_eq!(told(&mut tracker, end_of(9, 12)), []);
    adds_up(&tracker);
}

#[test]
fn a_late_end_behind_one_whose_birth_was_lost_is_not_told_again() {
    let mut tracker = Tracker::new();
    told(&mut tracker, seed(1, 11).event(1));
    assert_eq!(told(&mut tracker, end_of(9, 12)).len(), 3);
    assert_eq!(told(&mut tracker, end_of(10, 11)), []);
    assert_eq!((tracker.total().listed, tracker.total().ended()), (2, 2));
    adds_up(&tracker);
}

/// There is an end to what is remembered. Then nobody knows, and that is what is told.
#[test]
fn an_end_that_may_have_been_told_is_counted_as_lost() {
    let mut tracker = Tracker::new();
    let minute_ns = 60_000_000_000;
    told(&mut tracker, created(minute_ns, 1, 1));
    let last = 2 * MOST as u64 + 2;
    for cookie in 2..=last {
        told(&mut tracker, created(minute_ns + cookie, 1, cookie));
    }
    let missed = tracker.total().ended();
    // The first one was forgotten; or it is one of which nobody heard.
    let late = end_of(2 * minute_ns, 1);
    assert_eq!(told(&mut tracker, late), [(Kind::Lost, None, None)]);
    assert_eq!(told(&mut tracker, end_of(2 * minute_ns, last - 1)), [], "this one is remembered");
    assert_eq!((tracker.loss().ended, tracker.total().ended(), tracker.live()), (1, missed, 1));
    adds_up(&tracker);
    // After a while nothing comes late any more.
    let unheard = end_of(20 * minute_ns, last + 1);
    assert_eq!(told(&mut tracker, unheard).len(), 3);
    adds_up(&tracker);
}
