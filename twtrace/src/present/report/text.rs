//! Owns: a report as text for a terminal.
//! Must not know: where it goes, what is in a table.

use std::fmt::Write as _;

use super::model::{By, Report};
use super::view::{self, Line, View};
use crate::model::figures::{grouped, span};
use crate::output::paint::{Meaning, Paint};
use crate::output::room::fold;
use crate::present::table::{Cell, Column, Table};
use jiff::tz::TimeZone;

/// Columns in front of what is said under a label.
const LABELS: usize = 11;
/// Columns of a summary's line.
const COLUMNS: usize = 100;
/// Columns of a table that go where there is no room for all, the first of them first.
const SPARE: [&str; 10] =
    ["RECEIVED", "SENT", "AGE p50", "PEAK", "ENDED", "/S", "ABORTED", "OVERFLOW", "TIMELINE", "CALLED"];
/// Columns of a cell of text.
const CELL: usize = 44;

/// How a report is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// More columns, and nothing is cut.
    pub wide: bool,
    /// Rows of a table.
    pub most: usize,
    /// The timeline too.
    pub timeline: bool,
    /// Columns of the terminal, where it is for one.
    pub columns: Option<usize>,
    /// Its colours.
    pub paint: Paint,
}

// Writing to a String cannot fail, so its results are not looked at here.

/// The whole report. `zone` is whose time of day is shown.
pub fn text(report: &Report, layout: Layout, zone: &TimeZone) -> String {
    let mut out = String::new();
    for line in view::verdict(report).into_iter().chain(view::summary(report, zone)) {
        put_folded(&line, layout, &mut out);
    }
    for (by, rows) in &report.tables {
        let _ = writeln!(out, "\n{}", layout.paint.of(Meaning::Title, &heading(*by)));
        if rows.is_empty() {
            out.push_str("none\n");
            continue;
        }
        put_table(&view::table(report, *by, layout.wide, layout.most), layout, &mut out);
        if rows.len() > layout.most {
            let more = grouped((rows.len() - layout.most) as u64);
            let _ = writeln!(out, "and {more} more (--top, or --json, which has them all)");
        }
    }
    if layout.timeline {
        let _ = writeln!(out, "\nEvery {}", every(report.timeline.every_ns));
        put_table(&view::timeline(report, zone), layout, &mut out);
    }
    out
}

/// `1s`, `100ms`.
pub fn every(ns: u64) -> String {
    match ns {
        0..1_000_000_000 => format!("{}ms", ns as f64 / 1e6),
        _ => span(ns as f64 / 1e9),
    }
}

fn heading(by: By) -> String {
    format!("By {}", by.word())
}

/// A line is broken between words; what follows stands below what it belongs to.
fn put_folded(line: &Line, layout: Layout, out: &mut String) {
    let (paint, below) = (layout.paint, " ".repeat(LABELS));
    let (label, columns) =
        (format!("{:LABELS$}", line.label), layout.columns.unwrap_or(COLUMNS).min(COLUMNS));
    for (at, text) in fold(&label, &line.text, &below, columns).iter().enumerate() {
        match text.split_at_checked(LABELS).filter(|_| at == 0) {
            Some((label, rest)) => {
                paint.put(
                    if line.meaning == Meaning::Plain { Meaning::Label } else { line.meaning },
                    label,
                    out,
                );
                paint.put(
                    if line.meaning == Meaning::Critical { Meaning::Title } else { Meaning::Plain },
                    rest.trim_end(),
                    out,
                );
            }
            None => out.push_str(text),
        }
        out.push('\n');
    }
}

/// Lays a table out in columns as wide as they need to be; on a terminal as wide as they can be.
fn put_table(view: &View, layout: Layout, out: &mut String) {
    let wide = layout.wide;
    let column = |column: &view::Column| {
        let made = if column.is_number { Column::numbers(column.title) } else { Column::words(column.title) };
        if wide { made } else { made.at_most(CELL) }
    };
    let mut table = Table::new(view.columns.iter().map(column));
    for row in &view.rows {
        table.push(row.iter().map(|cell| Cell::new(&*cell.text, cell.meaning)));
    }
    let Some(columns) = layout.columns.filter(|_| !wide) else { return table.put(layout.paint, out) };
    let (table, gone) = table.within(columns, &SPARE);
    table.put(layout.paint, out);
    if !gone.is_empty() {
        let _ = writeln!(out, "without {}, for want of room (--wide)", gone.join(", "));
    }
}
