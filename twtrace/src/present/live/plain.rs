//! Owns: what is live as plain text: a head, then a line for each process. As `top -b`: each picture follows the one before.
//! Must not know: where lines go.

use std::fmt::Write as _;

use super::{Frame, drawer, living, lost, not_seen, reasons, target, tuple, until};
use crate::engine::{By, Figures, Pressure, ProcessRow, Rates, Snapshot, Target};
use crate::model::escape::{fit, printable, process_name};
use crate::model::figures::{bytes, percent, rate, short_time, span};
use crate::model::limitation::Limitation;
use crate::output::paint::Paint;
use crate::present::table::{Cell, Column, Table};

/// Columns of a narrow picture.
const COLUMNS: usize = 80;
/// Findings in the head, the worst first.
const FINDINGS: usize = 3;
/// What is left of them for the last column of a process.
const TOWARDS: usize = 21;

/// How a picture is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// More columns, and lines are never cut.
    pub wide: bool,
    /// Seconds between two pictures: rates are over the longest window that fits, at least a second.
    pub interval_s: u64,
}

impl Layout {
    fn pick(self, rates: &Rates) -> f64 {
        match self.interval_s {
            0..10 => rates.s1,
            10..60 => rates.s10,
            _ => rates.s60,
        }
    }

    /// Titles of the columns of rates, which say the window.
    fn titles(self) -> [&'static str; 2] {
        match self.interval_s {
            0..10 => ["NEW 1s", "END 1s"],
            10..60 => ["NEW 10s", "END 10s"],
            _ => ["NEW 60s", "END 60s"],
        }
    }
}

/// Appends a picture to `out`. `zone` is whose time of day is shown.
pub fn plain(frame: &Frame, layout: Layout, zone: &jiff::tz::TimeZone, out: &mut String) {
    let mut head = String::new();
    put_head(frame, layout, zone, &mut head);
    for line in head.lines() {
        let line = if layout.wide { line.into() } else { fit(line, COLUMNS) };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
    let mut table = Table::new(columns(layout)).dense();
    for row in &frame.snapshot.processes {
        table.push(cells(row, layout).into_iter().map(Cell::from));
    }
    table.put(Paint::NONE, out);
    put_others(&frame.snapshot, out);
    if frame.snapshot.processes.iter().any(|row| row.gone) {
        out.push_str("x: the process is gone\n");
    }
}

// Writing to a String cannot fail, so its results are not looked at here.

fn put_head(frame: &Frame, layout: Layout, zone: &jiff::tz::TimeZone, out: &mut String) {
    let snapshot = &frame.snapshot;
    let total = &snapshot.total;
    let time = frame.clock.time(snapshot.now_ns).to_zoned(zone.clone());
    let traced = frame.traced();
    let loss = &total.counts.loss;
    let findings = crate::diagnose::glance(snapshot, &frame.limitations, frame.replayed(zone));
    for finding in findings.iter().take(FINDINGS) {
        let text = if layout.wide { &finding.text } else { finding.short() };
        let _ = writeln!(out, "{:8} {text}", finding.severity.word().to_uppercase());
    }
    let time = time.strftime("%H:%M:%S");
    let _ = writeln!(out, "twtrace  {time}, traced {traced} by {}, {}", frame.backend, lost(loss));
    let _ = writeln!(out, "live     {}", living(frame, COLUMNS - 9));
    let flow = |rates: &Rates| rate(layout.pick(rates));
    let (created, ended) = (flow(&total.created_rate), flow(&total.ended_rate));
    let _ = writeln!(out, "rate     created {created}/s, ended {ended}/s; {}", totals(total));
    let _ = writeln!(out, "ended    {}", reasons(snapshot));
    let _ = writeln!(out, "failed   {}", total.counts.failed());
    put_hottest(snapshot, out);
    put_limitations(&frame.limitations, out);
    let dropped = &snapshot.dropped;
    if *dropped != Default::default() {
        let (rows, events, sockets) = (dropped.rows, dropped.events, dropped.sockets);
        let _ = writeln!(
            out,
            "dropped  {rows} idle rows, {events} events from rows, {sockets} live sockets: no room"
        );
    }
}

/// Processes that are not told apart for want of room.
fn put_others(snapshot: &Snapshot, out: &mut String) {
    let others = snapshot.others.iter().find(|(by, _)| *by == By::Process);
    if let Some((_, figures)) = others {
        let Figures { live, counts, .. } = figures;
        let (created, ended, failed) = (counts.created, counts.ended(), figures.failed());
        let _ = writeln!(
            out,
            "(others)  {live} live, {created} created, {ended} ended, {failed} failed: no room to tell them apart"
        );
    }
}

/// What cannot be seen, in one line; why not stands on stderr, and in JSON.
fn put_limitations(limitations: &[Limitation], out: &mut String) {
    if limitations.is_empty() {
        return;
    }
    let _ = writeln!(out, "not seen {}", not_seen(limitations));
}

fn totals(total: &Figures) -> String {
    format!("total {} created, {} ended", total.counts.created, total.counts.ended())
}

/// Who draws from the pool of ports that is full or full soonest, towards whom; and how long that lasts.
fn put_hottest(snapshot: &Snapshot, out: &mut String) {
    let Some((row, pressure)) = snapshot.hottest.as_ref().and_then(|row| Some((row, row.pressure?))) else {
        let _ = writeln!(out, "hottest  no tuple uses ephemeral ports");
        return;
    };
    let who = drawer(row, snapshot);
    let used = unicode_width::UnicodeWidthStr::width(&*who) + 11;
    let _ = writeln!(out, "hottest  {who}  {}", tuple(&row.key, COLUMNS.saturating_sub(used)));
    let Pressure { in_use, ports, .. } = pressure;
    let _ = writeln!(
        out,
        "         {in_use} of {ports} ports ({}), {}",
        percent(pressure.fraction()),
        until(&pressure)
    );
}

/// All that is there and, in a wide picture, [`more`]: columns stay where they are from one picture to the next.
fn columns(layout: Layout) -> Vec<Column<'static>> {
    let figure = |(title, width)| Column::numbers(title).at_least(width);
    let [created, ended] = layout.titles();
    let figures = [("LIVE", 6), (created, 7), ("FAILED", 6), ("USED", 4), ("LASTS", 6)].map(figure);
    let names = [Column::numbers("PID ").at_least(8), Column::words("PROCESS").at_least(15).at_most(15)];
    let mut columns: Vec<_> = names.into_iter().chain(figures).collect();
    if layout.wide {
        let more = [
            ("PEAK", 6),
            (ended, 7),
            ("TOTAL", 8),
            ("AGE p50", 8),
            ("AGE p99", 8),
            ("SENT", 8),
            ("RECEIVED", 8),
            ("UID", 5),
        ];
        columns.extend(more.map(figure));
        columns.push(Column::words("CONTAINER").at_least(24));
    }
    columns.push(Column::words("DESTINATION"));
    columns
}

fn cells(row: &ProcessRow, layout: Layout) -> Vec<String> {
    let figures = &row.figures;
    let (pid, name) = if row.key.is_unknown() {
        ("-".to_owned(), "unknown".to_owned())
    } else {
        (row.key.pid.to_string(), process_name(&row.key.comm.text()).into_owned())
    };
    let mark = if row.gone { "x" } else { " " };
    let (used, full) = ports(row.told().and_then(|link| link.pressure));
    let mut cells = vec![
        format!("{pid}{mark}"),
        name,
        figures.live.to_string(),
        per_second(layout.pick(&figures.created_rate)),
        figures.failed().to_string(),
        used,
        full,
    ];
    if layout.wide {
        cells.extend(more(row, layout));
    }
    cells.push(towards(row, layout));
    cells
}

fn per_second(events: f64) -> String {
    if events == 0.0 { "-".to_owned() } else { format!("{}/s", rate(events)) }
}

fn ports(pressure: Option<Pressure>) -> (String, String) {
    let Some(pressure) = pressure else { return ("-".to_owned(), "-".to_owned()) };
    let full = match pressure.full_in_s {
        Some(0.0) => "now".to_owned(),
        Some(seconds) => span(seconds),
        None if !pressure.has_rates => "?".to_owned(),
        None => "-".to_owned(),
    };
    (percent(pressure.fraction()), full)
}

fn more(row: &ProcessRow, layout: Layout) -> [String; 9] {
    let figures = &row.figures;
    let age = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), short_time);
    let size =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| bytes(count).replace(' ', ""));
    let container = row.identity.as_ref().and_then(|identity| identity.container.as_ref());
    let container = container.map_or_else(|| "-".to_owned(), ToString::to_string);
    [
        figures.peak_live.to_string(),
        per_second(layout.pick(&figures.ended_rate)),
        figures.counts.created.to_string(),
        age(figures.age_us.map(|age| age.p50)),
        age(figures.age_us.map(|age| age.p99)),
        size(figures.sent.map(|sent| sent.p50)),
        size(figures.received.map(|received| received.p50)),
        if row.key.is_unknown() { "-".to_owned() } else { row.uid.to_string() },
        printable(&container).into_owned(),
    ]
}

fn towards(row: &ProcessRow, layout: Layout) -> String {
    let Some(link) = row.told() else { return String::new() };
    let text = match &link.target {
        Target::Tuple(key) if layout.wide => tuple(key, usize::MAX),
        other => target(other, TOWARDS),
    };
    let others = format!(" +{}", row.targets - 1);
    let has_room = layout.wide || unicode_width::UnicodeWidthStr::width(&*text) + others.len() <= TOWARDS;
    if row.targets > 1 && has_room { text + &others } else { text }
}
