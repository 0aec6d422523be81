//! Pictures of a known state, compared with what is in testdata.

use super::fixture::{busy, compare, frame, quiet};
use super::{Layout, json_line, plain};
use crate::engine::{Limits, Tracker};

/// There is not room for all.
fn tracker() -> Tracker {
    busy(Limits { groups: 27, ..Limits::default() }).0
}

fn text(tracker: &Tracker, layout: Layout) -> String {
    let mut out = String::new();
    plain(&frame(tracker), layout, &jiff::tz::TimeZone::UTC, &mut out);
    out
}

#[test]
fn a_busy_machine_as_a_table() {
    let tracker = tracker();
    let narrow = text(&tracker, Layout { wide: false, interval_s: 1 });
    compare("present/live/testdata/narrow.txt", &narrow);
    for line in narrow.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line:?}");
    }
    compare("present/live/testdata/wide.txt", &text(&tracker, Layout { wide: true, interval_s: 10 }));
}

#[test]
fn nothing_as_a_table() {
    compare("present/live/testdata/empty.txt", &text(&quiet(Limits::default()), Layout::default()));
}

#[test]
fn nothing_from_a_stranger_acts_on_the_terminal() {
    let tracker = tracker();
    for wide in [false, true] {
        let text = text(&tracker, Layout { wide, interval_s: 1 });
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_busy_machine_as_json() {
    let mut out = Vec::new();
    json_line(&frame(&tracker()), &mut out);
    let line = String::from_utf8(out).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "one line");
    let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["processes"].as_array().map(Vec::len), Some(26));
    // Many are alike.
    value["processes"].as_array_mut().unwrap().truncate(5);
    // Key by key on lines of their own, so that a difference can be read.
    compare(
        "present/live/testdata/busy.json",
        &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()),
    );
}
