//! Owns: a comparison as text for a terminal.
//! Must not know: where it goes, how it was made.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::condition::grown;
use super::{Change, Comparison, Pair, Presence};
use crate::model::escape::printable;
use crate::model::figures::{grouped, percent, rate};
use crate::output::paint::{Meaning, Paint};
use crate::output::room::fold;
use crate::present::report::model::Report;
use crate::present::report::view::{self, NOTHING};
use crate::present::table::{Cell, Column, Table};

/// Columns of a name.
const NAME: usize = 52;
/// Columns of a table that go where there is no room for all.
const SPARE: [&str; 1] = ["ENDED/S"];
/// What stands before a line that goes on.
const BELOW: &str = "     ";

// Writing to a String cannot fail, so its results are not looked at here.

/// How a comparison is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a table.
    pub most: usize,
    /// Columns of the terminal, where it is for one.
    pub columns: Option<usize>,
    /// Its colours.
    pub paint: Paint,
}

/// The whole comparison. `zone` is whose time of day is shown.
pub fn text(comparison: &Comparison<'_>, layout: Layout, zone: &TimeZone) -> String {
    let (mut out, paint) = (String::new(), layout.paint);
    let mut head = String::new();
    for (label, report) in [("old", comparison.old), ("new", comparison.new)] {
        put_origin(label, report, zone, &mut head);
    }
    put_folded(&head, layout, &mut out);
    out.push('\n');
    put_totals(comparison, paint, &mut out);
    // Whether one is whole stands in its head.
    for caution in comparison.of_both() {
        let warning = paint.of(Meaning::Warning, "WARNING");
        put_folded(&format!("{warning}: {caution}"), layout, &mut out);
    }
    put_changes("By process (all of a name)", "PROCESS", &comparison.processes, layout, &mut out);
    put_changes("By tuple", "TUPLE", &comparison.tuples, layout, &mut out);
    let mut settings = String::new();
    put_settings(comparison, &mut settings);
    put_folded(&settings, layout, &mut out);
    out
}

/// Lines as they are, or on a terminal broken between words.
fn put_folded(lines: &str, layout: Layout, out: &mut String) {
    for line in lines.lines() {
        match layout.columns {
            Some(columns) => fold("", line, BELOW, columns).iter().for_each(|line| {
                let _ = writeln!(out, "{line}");
            }),
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

fn put_origin(label: &str, report: &Report, zone: &TimeZone, out: &mut String) {
    for line in view::summary(report, zone) {
        match line.label {
            "recording" => {
                let _ = writeln!(out, "{label}  {}", line.text);
            }
            "command" | "filters" => {
                let _ = writeln!(out, "     {}: {}", line.label, line.text);
            }
            "WARNING" => {
                let _ = writeln!(out, "     WARNING: {}", line.text);
            }
            _ => {}
        }
    }
}

fn put_totals(comparison: &Comparison<'_>, paint: Paint, out: &mut String) {
    let rows = comparison.totals.iter().filter(|(_, pair)| !is_nothing(pair)).map(|(metric, pair)| {
        let said = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), |value| metric.said(value));
        [metric.name.to_owned(), said(pair.old), said(pair.new), change(pair)]
    });
    let numbers = ["OLD", "NEW", "CHANGE"].map(Column::numbers);
    let mut table = Table::new([Column::words("")].into_iter().chain(numbers));
    rows.for_each(|row| table.push(row.map(Cell::from)));
    table.put(paint, out);
}

/// Zero, or not known, in both.
fn is_nothing(pair: &Pair) -> bool {
    pair.old.unwrap_or(0.0) == 0.0 && pair.new.unwrap_or(0.0) == 0.0
}

fn change(pair: &Pair) -> String {
    pair.growth().map_or_else(|| NOTHING.to_owned(), grown)
}

fn put_changes(title: &str, what: &str, changes: &[Change], layout: Layout, out: &mut String) {
    let Layout { most, columns, paint } = layout;
    let _ = writeln!(out, "\n{}", paint.of(Meaning::Title, title));
    if changes.is_empty() {
        out.push_str("none\n");
        return;
    }
    let pair = |pair: &Pair, said: fn(f64) -> String| {
        let one = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), said);
        if is_nothing(pair) { NOTHING.to_owned() } else { format!("{} > {}", one(pair.old), one(pair.new)) }
    };
    let rows = changes.iter().take(most).map(|row| {
        let grown = match row.presence {
            Presence::Both => change(&row.created_rate),
            Presence::Appeared => "appeared".to_owned(),
            Presence::Gone => "gone".to_owned(),
        };
        [
            pair(&row.created_rate, rate),
            grown,
            pair(&row.ended_rate, rate),
            pair(&row.failed_rate, rate),
            pair(&row.pressure, percent),
            row.host.as_deref().map_or_else(String::new, |host| format!("{}: ", printable(host)))
                + &view::name(&row.name),
        ]
    });
    let numbers = ["CREATED/S", "CHANGE", "ENDED/S", "FAILED/S", "USED"].map(Column::numbers);
    let mut table = Table::new(numbers.into_iter().chain([Column::words(what).at_most(NAME)]));
    rows.for_each(|row| table.push(row.map(Cell::from)));
    let (table, gone) = table.within(columns.unwrap_or(usize::MAX), &SPARE);
    table.put(paint, out);
    if !gone.is_empty() {
        let _ =
            writeln!(out, "without {}, for want of room (--json, or a pipe, has them all)", gone.join(", "));
    }
    if changes.len() > most {
        let _ = writeln!(
            out,
            "and {} more (--top, or --json, which has them all)",
            grouped((changes.len() - most) as u64)
        );
    }
}

fn put_settings(comparison: &Comparison<'_>, out: &mut String) {
    out.push_str("\nSettings that differ\n");
    if [comparison.old, comparison.new].iter().any(|report| !report.hosts.is_empty()) {
        out.push_str("not compared: there are several hosts\n");
        return;
    }
    if comparison.settings.is_empty() {
        out.push_str("none\n");
    }
    for setting in &comparison.settings {
        let (one, other) = (setting.old_netns, setting.new_netns);
        let netns = if one == other { one.to_string() } else { format!("{one} > {other}") };
        let (old, new) = (printable(&setting.old), printable(&setting.new));
        let _ = writeln!(out, "{}: {old} > {new} (netns {netns})", setting.name);
    }
}
