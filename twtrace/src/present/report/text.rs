//! Owns: a report as text for a terminal.
//! Must not know: where it goes, what is in a table.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

use super::model::{By, Report};
use super::view::{self, View};
use crate::model::escape::fit;
use crate::model::figures::span;

/// Columns in front of what is said under a label.
const LABELS: usize = 11;
/// Columns of a summary's line.
const COLUMNS: usize = 100;
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
}

// Writing to a String cannot fail, so its results are not looked at here.

/// The whole report. `zone` is whose time of day is shown.
pub fn text(report: &Report, layout: Layout, zone: &TimeZone) -> String {
    let mut out = String::new();
    for line in view::summary(report, zone) {
        put_folded(line.label, &line.text, &mut out);
    }
    for (by, rows) in &report.tables {
        let _ = writeln!(out, "\n{}", heading(*by));
        if rows.is_empty() {
            out.push_str("none\n");
            continue;
        }
        put_table(&view::table(report, *by, layout.wide, layout.most), layout.wide, &mut out);
        if rows.len() > layout.most {
            let _ =
                writeln!(out, "and {} more (--top, or --json, which has them all)", rows.len() - layout.most);
        }
    }
    if layout.timeline {
        let _ = writeln!(out, "\nEvery {}", every(report.timeline.every_ns));
        put_table(&view::timeline(report, zone), layout.wide, &mut out);
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
fn put_folded(label: &str, text: &str, out: &mut String) {
    let mut line = format!("{label:LABELS$}");
    let mut is_fresh = true;
    for word in text.split(' ') {
        let width = line.width() + word.width() + usize::from(!is_fresh);
        if !is_fresh && width > COLUMNS {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(LABELS);
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Lays a table out in columns as wide as they need to be.
pub fn put_table(view: &View, wide: bool, out: &mut String) {
    let cut = |text: &str| if wide { text.to_owned() } else { fit(text, CELL).into_owned() };
    let rows: Vec<Vec<String>> =
        view.rows.iter().map(|row| row.iter().map(|cell| cut(&cell.text)).collect()).collect();
    let titles: Vec<String> = view.columns.iter().map(|column| column.title.to_owned()).collect();
    let widest = |at: usize| rows.iter().chain([&titles]).filter_map(|row| Some(row.get(at)?.width())).max();
    let widths: Vec<usize> = (0..titles.len()).map(|at| widest(at).unwrap_or(0)).collect();
    for row in [&titles].into_iter().chain(&rows) {
        let mut line = String::new();
        for ((text, width), column) in row.iter().zip(&widths).zip(&view.columns) {
            let gap = " ".repeat(width.saturating_sub(text.width()));
            let (before, after) = if column.is_number { (gap.as_str(), "") } else { ("", gap.as_str()) };
            let _ = write!(line, "{before}{text}{after}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
