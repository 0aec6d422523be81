//! Where nothing happens, the screen is renewed less often.

use std::time::Duration;

use crate::engine::Tracker;
use crate::model::clock::Clock;
use crate::model::event::{Event, Kind};
use crate::model::filter::Filter;
use crate::present::live::Origin;
use crate::present::tui::Screen;
use crate::source::View as _;

const SECOND_NS: u64 = 1_000_000_000;

/// When a screen with this interval wants its next picture, in seconds after the last: at first, and once it was told an event.
fn due_s(interval: Duration) -> (u64, u64) {
    let origin = Origin::Recorded(String::new(), Clock::read());
    let mut screen = Screen::of(origin, interval, None, &Filter::default());
    let (mut tracker, now_ns) = (Tracker::default(), 7 * SECOND_NS);
    screen.tick(&mut tracker, now_ns).unwrap();
    let quiet = (screen.next_ns() - now_ns) / SECOND_NS;
    screen.event(&Event::new(Kind::Lost, now_ns, None)).unwrap();
    (quiet, (screen.next_ns() - now_ns) / SECOND_NS)
}

#[test]
fn a_picture_that_only_time_changes_waits_for_two_seconds_and_an_event_does_not() {
    assert_eq!(due_s(Duration::from_secs(1)), (2, 1));
    assert_eq!(due_s(Duration::from_secs(5)), (5, 5));
}
