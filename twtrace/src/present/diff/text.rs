//! Owns: a comparison as text for a terminal.
//! Must not know: where it goes, how it was made.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::condition::grown;
use super::{Change, Comparison, Pair, Presence};
use crate::model::escape::printable;
use crate::model::figures::{grouped, percent, rate};
use crate::output::paint::{Meaning, Paint};
use crate::present::report::model::Report;
use crate::present::report::view::{self, NOTHING};
use crate::present::table::{Cell, Column, Table};

/// Columns of a name.
const NAME: usize = 52;

// Writing to a String cannot fail, so its results are not looked at here.

/// The whole comparison, `most` rows a table. `zone` is whose time of day is shown.
pub fn text(comparison: &Comparison<'_>, most: usize, zone: &TimeZone, paint: Paint) -> String {
    let mut out = String::new();
    for (label, report) in [("old", comparison.old), ("new", comparison.new)] {
        put_origin(label, report, zone, &mut out);
    }
    out.push('\n');
    put_totals(comparison, paint, &mut out);
    for caution in comparison.cautions() {
        let _ = writeln!(out, "{}: {caution}", paint.of(Meaning::Warning, "WARNING"));
    }
    put_changes("By process (all of a name)", "PROCESS", &comparison.processes, most, paint, &mut out);
    put_changes("By tuple", "TUPLE", &comparison.tuples, most, paint, &mut out);
    put_settings(comparison, &mut out);
    out
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

fn put_changes(title: &str, what: &str, changes: &[Change], most: usize, paint: Paint, out: &mut String) {
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
    table.put(paint, out);
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
