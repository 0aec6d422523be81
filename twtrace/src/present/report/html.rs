//! Owns: a report as one page that needs nothing else: no network, no other file.
//! Must not know: where it goes, what is in a table.
//!
//! Whatever strangers chose stands in the page as text: askama escapes it, and in the data of the charts there are numbers only. And if
//! that failed: the page's policy runs no script but the page's own, which are told by a number made for this page.

use std::fmt::Write as _;

use askama::Template;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::model::{By, Report, Strip};
use super::text::every;
use super::view::{self, Line, View};
use crate::diagnose::finding::{Finding, Remedy};
use crate::diagnose::first;
use crate::model::escape::printable;
use crate::model::figures::{grouped, lasted, percent, rate};
use crate::output::paint::Meaning;

/// Findings that are seen at once.
const FINDINGS: usize = 4;
/// Rows of a table; a browser sorts that many at once.
const ROWS: usize = 1000;

#[derive(Template)]
#[template(path = "page.html")]
struct HtmlPage<'a> {
    title: &'a str,
    version: &'a str,
    nonce: &'a str,
    when: String,
    first: Option<(&'a Finding, &'a Remedy)>,
    findings: &'a [Finding],
    /// So many of them are seen before one asks for the others.
    shown: usize,
    /// Why there are no findings.
    unfound: Option<&'static str>,
    tiles: Vec<Tile>,
    summary: Vec<Line>,
    every: String,
    tables: Vec<Table>,
    data: String,
    css: &'static str,
    js: &'static str,
    chart_css: &'static str,
    chart_js: &'static str,
}

/// A number to be seen at once.
struct Tile {
    label: &'static str,
    value: String,
    more: String,
    meaning: Meaning,
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
        let all = |pick: fn(&super::model::TimelineSpan) -> u32| moments.iter().map(pick).collect();
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

fn when(report: &Report, zone: &TimeZone) -> String {
    let (from, to) = (report.head.mono_ns, report.ended_ns);
    format!(
        "{} on {}, {} to {} {}",
        lasted(report.duration_s()),
        printable(&report.head.host),
        view::date(report, from, zone),
        view::date(report, to, zone),
        view::zone_name(report, to, zone)
    )
}

fn tiles(report: &Report) -> Vec<Tile> {
    let total = &report.total;
    let tile = |label, value, more: String, meaning| Tile { label, value, more, meaning };
    let alarm = |count: u64, meaning| if count == 0 { Meaning::Plain } else { meaning };
    let whose = if report.hosts.is_empty() { "" } else { "of one host; " };
    let (failed, lost) = (total.failed(), report.lost.events());
    let mut tiles = vec![
        tile(
            "created",
            grouped(total.counts.created),
            format!(
                "{}/s, at most {} in a second{}",
                rate(report.per_second(total.counts.created)),
                grouped(report.busiest.value),
                view::of_one(report)
            ),
            Meaning::Plain,
        ),
        tile(
            "live at most",
            grouped(report.peak_live.value),
            format!("{whose}{} at the end", grouped(total.live)),
            Meaning::Plain,
        ),
        tile("failed", grouped(failed), total.counts.failed(), alarm(failed, Meaning::Critical)),
    ];
    tiles.extend(report.fullest.map(|peak| {
        let (in_use, ports) = (grouped(peak.ports_in_use.into()), grouped(peak.ports.into()));
        let more = format!("{in_use} of {ports}, {}", view::tuple(&peak.tuple));
        let meaning = if peak.pressure() >= 0.8 { Meaning::Warning } else { Meaning::Plain };
        tile("ports in use at most", percent(peak.pressure()), more, meaning)
    }));
    tiles.push(tile("lost", grouped(lost), "events".to_owned(), alarm(lost, Meaning::Warning)));
    tiles
}

/// Height of a timeline in its own units.
const HEIGHT: u64 = 20;

/// A timeline as a picture: numbers only, nothing of a stranger's.
pub(super) fn svg(strip: &Strip) -> String {
    let both = || strip.created.iter().zip(&strip.failed);
    let most =
        both().map(|(created, failed)| u64::from(*created) + u64::from(*failed)).max().unwrap_or(0).max(1);
    let height = |count: u32| (u64::from(count) * HEIGHT).div_ceil(most);
    let (mut created, mut failed) = (String::new(), String::new());
    // Writing to a String cannot fail.
    for (at, (made, missed)) in both().enumerate() {
        let low = height(*made).min(HEIGHT - u64::from(*missed != 0));
        if low != 0 {
            let _ = write!(created, "M{at} {HEIGHT}v-{low}h1v{low}z");
        }
        let high = height(*missed).min(HEIGHT - low);
        if high != 0 {
            let _ = write!(failed, "M{at} {}v-{high}h1v{high}z", HEIGHT - low);
        }
    }
    let width = strip.created.len();
    format!(
        "<svg class=\"strip\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"timeline\">\
         <path class=\"created\" d=\"{created}\"/><path class=\"failed\" d=\"{failed}\"/></svg>"
    )
}

/// A number that no stranger can know: it goes with the page's own scripts and styles.
///
/// # Errors
/// If the kernel gives none.
pub fn nonce() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
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
    let findings = report.findings.as_deref().unwrap_or_default();
    let page = HtmlPage {
        title: file.rsplit('/').next().unwrap_or(&file),
        version: env!("CARGO_PKG_VERSION"),
        nonce,
        when: when(report, zone),
        first: first(findings),
        findings,
        shown: FINDINGS,
        unfound: match (&report.findings, findings) {
            (None, _) => {
                Some("Findings are not looked for under a filter; `twtrace doctor FILE` tells them.")
            }
            (_, []) => Some("Nothing wrong was found in this recording."),
            _ => None,
        },
        tiles: tiles(report),
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
