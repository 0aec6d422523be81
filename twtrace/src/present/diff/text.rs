//! Owns: a comparison as text for a terminal.
//! Must not know: where it goes, how it was made.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

use super::condition::grown;
use super::{Change, Comparison, Pair, Presence};
use crate::model::escape::{fit, printable};
use crate::model::figures::{percent, rate};
use crate::present::report::model::Report;
use crate::present::report::view::{self, NOTHING};

/// Columns of a name.
const NAME: usize = 52;

// Writing to a String cannot fail, so its results are not looked at here.

/// The whole comparison, `most` rows a table. `zone` is whose time of day is shown.
pub fn text(comparison: &Comparison<'_>, most: usize, zone: &TimeZone) -> String {
    let mut out = String::new();
    for (label, report) in [("old", comparison.old), ("new", comparison.new)] {
        put_origin(label, report, zone, &mut out);
    }
    out.push('\n');
    put_totals(comparison, &mut out);
    for caution in comparison.cautions() {
        let _ = writeln!(out, "WARNING: {caution}");
    }
    put_changes("By process (all of a name)", "PROCESS", &comparison.processes, most, &mut out);
    put_changes("By tuple", "TUPLE", &comparison.tuples, most, &mut out);
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

fn put_totals(comparison: &Comparison<'_>, out: &mut String) {
    let rows = comparison.totals.iter().filter(|(_, pair)| !is_nothing(pair)).map(|(metric, pair)| {
        let said = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), |value| metric.said(value));
        vec![metric.name.to_owned(), said(pair.old), said(pair.new), change(pair)]
    });
    put_table(&["", "OLD", "NEW", "CHANGE"], rows.collect(), out);
}

/// Zero, or not known, in both.
fn is_nothing(pair: &Pair) -> bool {
    pair.old.unwrap_or(0.0) == 0.0 && pair.new.unwrap_or(0.0) == 0.0
}

fn change(pair: &Pair) -> String {
    pair.growth().map_or_else(|| NOTHING.to_owned(), grown)
}

fn put_changes(title: &str, what: &str, changes: &[Change], most: usize, out: &mut String) {
    let _ = writeln!(out, "\n{title}");
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
        vec![
            pair(&row.created_rate, rate),
            grown,
            pair(&row.ended_rate, rate),
            pair(&row.failed_rate, rate),
            pair(&row.pressure, percent),
            fit(&view::name(&row.name), NAME).into_owned(),
        ]
    });
    put_table(&["CREATED/S", "CHANGE", "ENDED/S", "FAILED/S", "USED", what], rows.collect(), out);
    if changes.len() > most {
        let _ = writeln!(out, "and {} more (--top, or --json, which has them all)", changes.len() - most);
    }
}

fn put_settings(comparison: &Comparison<'_>, out: &mut String) {
    out.push_str("\nSettings that differ\n");
    if comparison.settings.is_empty() {
        out.push_str("none\n");
    }
    for setting in &comparison.settings {
        let (one, other) = setting.netns;
        let netns = if one == other { one.to_string() } else { format!("{one} > {other}") };
        let (old, new) = (printable(&setting.old), printable(&setting.new));
        let _ = writeln!(out, "{}: {old} > {new} (netns {netns})", setting.name);
    }
}

/// Text columns to the left: the first without a title, and the last. Numbers to the right.
fn put_table(titles: &[&str], rows: Vec<Vec<String>>, out: &mut String) {
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let last = titles.len() - 1;
    let is_text = |at: usize| titles[at].is_empty() || (at == last && !titles[0].is_empty());
    let widths: Vec<usize> = (0..titles.len())
        .map(|at| rows.iter().chain([&titles]).map(|row| row[at].width()).max().unwrap_or(0))
        .collect();
    for row in [&titles].into_iter().chain(&rows) {
        let mut line = String::new();
        for (at, text) in row.iter().enumerate() {
            let gap = " ".repeat(widths[at].saturating_sub(text.width()));
            let _ = if is_text(at) { write!(line, "{text}{gap}  ") } else { write!(line, "{gap}{text}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
