//! Pictures of a known state, compared with what is in testdata.

use super::fixture::{busy, compare, frame, quiet};
use super::{Layout, json_line, plain};
use crate::engine::{Figures, Fold, Limits, Tracker};

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

fn folded(fold: Fold) -> Vec<(Option<String>, usize, u64, bool)> {
    let (tracker, _) = busy(Limits::default());
    let rows = tracker.folded(&tracker.survey(), fold);
    rows.into_iter().map(|row| (row.name, row.members.len(), row.figures.live, row.gone)).collect()
}

#[test]
fn those_that_are_gone_become_one_row() {
    assert_eq!(folded(Fold::Gone), [(Some("curl".to_owned()), 1, 2, true)]);
}

#[test]
fn nothing_is_lost_by_folding() {
    let (tracker, _) = busy(Limits::default());
    for fold in [Fold::Program, Fold::Unit, Fold::Container, Fold::Pod, Fold::Netns] {
        let rows = tracker.folded(&tracker.survey(), fold);
        let sum = |figure: fn(&Figures) -> u64| rows.iter().map(|row| figure(&row.figures)).sum::<u64>();
        let total = tracker.total();
        assert_eq!(sum(|figures| figures.live), tracker.live() as u64, "{fold:?}");
        assert_eq!(sum(|figures| figures.counts.created), total.created, "{fold:?}");
        assert_eq!(sum(|figures| figures.counts.connect_failed), total.connect_failed, "{fold:?}");
    }
    let pods: Vec<_> = folded(Fold::Pod).into_iter().map(|row| row.0).collect();
    assert_eq!(pods, [None, Some("shop/web-17".to_owned())]);
    let programs = folded(Fold::Program);
    assert!(programs.contains(&(Some("curl".to_owned()), 23, 24, false)), "{programs:?}");
}
