//! Owns: states for screens to show.
//! Must not know: screens.

use crate::engine::{By, Extent, Fold, Limits, Tracker};
use crate::model::event::{Event, Kind};
use crate::present::live::fixture::{self, NETNS, NOW_S, SECOND_NS, SERVER};
use crate::present::tui::journal::Journal;
use crate::present::tui::views::{Folded, Picture};

fn journal(events: &[Event]) -> Journal {
    let mut journal = Journal::default();
    events.iter().for_each(|event| journal.note(event));
    journal
}

/// 100 ports, of which a client uses most; addresses and names as long as can be; strangers; losses.
pub(super) fn busy() -> (Tracker, Journal) {
    let (tracker, events) = fixture::busy(Limits::default());
    (tracker, journal(&events))
}

/// The busy one, and a socket in another network namespace.
pub(super) fn two_namespaces() -> (Tracker, Journal) {
    let (mut tracker, journal) = busy();
    let mut event = SERVER.event(Kind::Created, 118.9, 8080);
    if let Some(conn) = &mut event.conn {
        conn.netns = NETNS + 1;
    }
    tracker.apply(&mut event);
    tracker.advance(NOW_S * SECOND_NS + 1);
    (tracker, journal)
}

/// The busy one, with less room than it takes.
pub(super) fn full() -> (Tracker, Journal) {
    let limits = Limits { groups: 11, sockets: 97, ..Limits::default() };
    let (tracker, events) = fixture::busy(limits);
    (tracker, journal(&events))
}

/// Nothing has happened for 19 seconds.
pub(super) fn quiet() -> (Tracker, Journal) {
    (fixture::quiet(Limits::default()), Journal::default())
}

pub(super) fn picture(tracker: &Tracker, fold: Fold, journal: &Journal) -> Picture {
    let zone = jiff::tz::TimeZone::UTC;
    let folded = Folded { by: fold, rows: tracker.folded(&tracker.survey(), fold) };
    let all = (By::ALL, Extent::WHOLE);
    Picture::new(fixture::frame(tracker), all, Some(folded), Some(journal.clone()), zone, Vec::new())
}
