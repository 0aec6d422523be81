//! Owns: a report as one page that needs nothing else: no network, no other file.
//! Must not know: where it goes, what is in a table.
//!
//! Whatever strangers chose stands in the page as text: askama escapes it, and in the data of the charts there are numbers only. And if
//! that failed: the page's policy runs no script but the page's own, which are told by a number made for this page.

use askama::Template;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::model::{By, Report};
use super::text::every;
use super::view::{self, Line, View};
use crate::model::escape::printable;
use crate::output::paint::Meaning;

/// Rows of a table; a browser sorts that many at once.
const ROWS: usize = 1000;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    version: &'a str,
    nonce: &'a str,
    summary: Vec<Line>,
    every: String,
    tables: Vec<Table>,
    data: String,
    css: &'static str,
    js: &'static str,
    chart_css: &'static str,
    chart_js: &'static str,
}

struct Table {
    by: &'static str,
    view: View,
    /// Rows there are.
    all: usize,
}

/// What the charts show, stretch by stretch.
#[derive(Serialize)]
struct Data {
    /// Width of a stretch.
    every_s: f64,
    /// Seconds since 1970.
    time: Vec<f64>,
    created: Vec<u32>,
    ended: Vec<u32>,
    /// Overflows, and failures of connect() and bind().
    failed: Vec<u32>,
    lost: Vec<u32>,
    live: Vec<u32>,
    /// Between 0 and 1.
    pressure: Vec<f64>,
}

impl Data {
    fn of(report: &Report) -> Self {
        let moments = &report.timeline.moments;
        let all = |pick: fn(&super::model::Moment) -> u32| moments.iter().map(pick).collect();
        let time = |mono_ns: u64| (report.clock.wall_ns(mono_ns) / 1_000_000) as f64 / 1000.0;
        Self {
            every_s: report.timeline.every_ns as f64 / 1e9,
            time: moments.iter().map(|moment| time(moment.at_ns)).collect(),
            created: all(|moment| moment.created),
            ended: all(|moment| moment.ended),
            failed: all(|moment| moment.overflow + moment.connect_failed + moment.bind_failed),
            lost: all(|moment| moment.lost),
            live: all(|moment| moment.peak_live),
            pressure: moments.iter().map(|moment| (f64::from(moment.pressure) * 1e4).round() / 1e4).collect(),
        }
    }
}

/// A number that no stranger can know: it goes with the page's own scripts and styles.
///
/// # Errors
/// If the kernel gives none.
pub fn nonce() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The page. `zone` is whose time of day stands in it; charts have the reader's.
///
/// # Errors
/// Only of memory.
pub fn page(report: &Report, zone: &TimeZone, nonce: &str) -> std::io::Result<String> {
    let table = |by: &By| Table {
        by: by.word(),
        view: view::table(report, *by, true, ROWS),
        all: report.table(*by).map_or(0, <[_]>::len),
    };
    let file = printable(&report.file);
    let page = Page {
        title: file.rsplit('/').next().unwrap_or(&file),
        version: env!("CARGO_PKG_VERSION"),
        nonce,
        summary: view::summary(report, zone),
        every: every(report.timeline.every_ns),
        tables: report.tables.iter().map(|(by, _)| table(by)).collect(),
        data: serde_json::to_string(&Data::of(report))?,
        css: include_str!("html/page.css"),
        js: include_str!("html/page.js"),
        chart_css: include_str!("html/uplot/uPlot.min.css"),
        chart_js: include_str!("html/uplot/uPlot.iife.min.js"),
    };
    page.render().map_err(std::io::Error::other)
}
