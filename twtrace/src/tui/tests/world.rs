//! Owns: worlds for screens to show.
//! Must not know: screens.

use crate::event::{Event, Kind};
use crate::live::fixture::{self, NETNS, NOW_S, SECOND_NS, SERVER};
use crate::tracker::{By, Limits, Tracker};
use crate::tui::journal::Journal;
use crate::tui::views::Picture;

fn journal(events: &[Event]) -> Journal {
    let mut journal = Journal::default();
    events.iter().for_each(|event| journal.note(event));
    journal
}

/// 100 ports, of which a client uses most; addresses and names as long as can be; strangers; losses.
pub(super) fn busy() -> (Tracker, Journal) {
    let (world, events) = fixture::busy(Limits::default());
    (world, journal(&events))
}

/// The busy one, and a socket in another network namespace.
pub(super) fn two_namespaces() -> (Tracker, Journal) {
    let (mut world, journal) = busy();
    let mut event = SERVER.event(Kind::Created, 118.9, 8080);
    if let Some(conn) = &mut event.conn {
        conn.netns = NETNS + 1;
    }
    world.apply(&mut event);
    world.advance(NOW_S * SECOND_NS + 1);
    (world, journal)
}

/// The busy one, with less room than it takes.
pub(super) fn full() -> (Tracker, Journal) {
    let limits = Limits { groups: 11, sockets: 97, ..Limits::default() };
    let (world, events) = fixture::busy(limits);
    (world, journal(&events))
}

/// Nothing has happened for 19 seconds.
pub(super) fn quiet() -> (Tracker, Journal) {
    (fixture::quiet(Limits::default()), Journal::default())
}

pub(super) fn picture(world: &Tracker, journal: &Journal) -> Picture {
    let zone = jiff::tz::TimeZone::UTC;
    Picture::new(fixture::frame(world), By::ALL, Some(journal.clone()), zone)
}
