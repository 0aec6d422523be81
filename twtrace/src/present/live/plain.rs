//! Owns: what is live as plain text: a head, then a line for each process. As `top -b`: each picture follows the one before.
//! Must not know: where lines go.

use std::fmt::Write as _;

use super::{Frame, living, lost, not_seen, reasons, target, tuple, until};
use crate::engine::{By, Figures, Pressure, ProcessRow, Rates, Snapshot, Target};
use crate::model::escape::{fit, printable};
use crate::model::figures::{bytes, percent, rate, short_time, span};
use crate::model::limitation::Limitation;

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
    put_names(layout, out);
    for row in &frame.snapshot.processes {
        let mut line = String::new();
        put_process(row, layout, &mut line);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    put_others(&frame.snapshot, out);
    if frame.snapshot.processes.iter().any(|row| row.gone) {
        out.push_str("x: the process is gone\n");
    }
}

// Writing to a String cannot fail, so its results are not looked at here.

fn put_head(frame: &Frame, layout: Layout, zone: &jiff::tz::TimeZone, out: &mut String) {
    let snapshot = &frame.snapshot;
    let total = &snapshot.total;
    let wall_ns = frame.clock.wall_ns(snapshot.now_ns);
    let time = jiff::Timestamp::from_nanosecond(wall_ns.into()).unwrap_or_default().to_zoned(zone.clone());
    let traced = span(snapshot.now_ns.saturating_sub(snapshot.began_ns) as f64 / 1e9);
    let loss = &total.counts.loss;
    for finding in crate::diagnose::glance(snapshot, &frame.limitations).iter().take(FINDINGS) {
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
    let who = match row.main {
        Some(main) if !main.is_unknown() => format!("{}/{}", main.pid, printable(&main.comm.text())),
        _ => "unknown".to_owned(),
    };
    let used = unicode_width::UnicodeWidthStr::width(&*who) + 11;
    let _ = writeln!(out, "hottest  {who}  {}", tuple(&row.key, COLUMNS.saturating_sub(used)));
    let Pressure { in_use, ports, .. } = pressure;
    let _ = writeln!(
        out,
        "         {in_use} of {ports} ports ({}), {}",
        percent(pressure.fraction()),
        until(pressure.full_in_s)
    );
}

fn put_names(layout: Layout, out: &mut String) {
    let _ = write!(
        out,
        "{:>7}  {:15} {:>6} {:>7} {:>6} {:>4} {:>6} ",
        "PID", "PROCESS", "LIVE", "CREATED", "FAILED", "USED", "LASTS"
    );
    if layout.wide {
        let _ = write!(
            out,
            "{:>6} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>5} {:24} ",
            "PEAK", "ENDED", "TOTAL", "AGE p50", "AGE p99", "SENT", "RECEIVED", "UID", "CONTAINER"
        );
    }
    out.push_str("DESTINATION\n");
}

fn put_process(row: &ProcessRow, layout: Layout, out: &mut String) {
    let figures = &row.figures;
    let (pid, name) = if row.key.is_unknown() {
        ("-".to_owned(), "unknown".into())
    } else {
        (row.key.pid.to_string(), row.key.comm.text())
    };
    let mark = if row.gone { "x" } else { "" };
    let _ = write!(out, "{pid:>7}{mark:1} ");
    put_left(&fit(&printable(&name), 15), 15, out);
    let (used, full) = ports(row.told().and_then(|link| link.pressure));
    let _ = write!(
        out,
        " {:>6} {:>7} {:>6} {used:>4} {full:>6} ",
        figures.live,
        per_second(layout.pick(&figures.created_rate)),
        figures.failed(),
    );
    if layout.wide {
        put_more(row, layout, out);
    }
    put_towards(row, layout, out);
}

fn per_second(events: f64) -> String {
    if events == 0.0 { "-".to_owned() } else { format!("{}/s", rate(events)) }
}

/// Left-aligned in terminal columns, which are not characters.
fn put_left(text: &str, width: usize, out: &mut String) {
    out.push_str(text);
    let used = unicode_width::UnicodeWidthStr::width(text);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
}

fn ports(pressure: Option<Pressure>) -> (String, String) {
    let Some(pressure) = pressure else { return ("-".to_owned(), "-".to_owned()) };
    let full = match pressure.full_in_s {
        Some(0.0) => "now".to_owned(),
        Some(seconds) => span(seconds),
        None => "-".to_owned(),
    };
    (percent(pressure.fraction()), full)
}

fn put_more(row: &ProcessRow, layout: Layout, out: &mut String) {
    let figures = &row.figures;
    let age = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), short_time);
    let size =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| bytes(count).replace(' ', ""));
    let _ = write!(
        out,
        "{:>6} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>5} ",
        figures.peak_live,
        per_second(layout.pick(&figures.ended_rate)),
        figures.counts.created,
        age(figures.age_us.map(|age| age.p50)),
        age(figures.age_us.map(|age| age.p99)),
        size(figures.sent.map(|sent| sent.p50)),
        size(figures.received.map(|received| received.p50)),
        if row.key.is_unknown() { "-".to_owned() } else { row.uid.to_string() },
    );
    let container = row.identity.as_ref().and_then(|identity| identity.container.as_ref());
    let container = container.map_or_else(|| "-".to_owned(), ToString::to_string);
    put_left(&printable(&container), 24, out);
    out.push(' ');
}

fn put_towards(row: &ProcessRow, layout: Layout, out: &mut String) {
    let Some(link) = row.told() else { return };
    let text = match &link.target {
        Target::Tuple(key) if layout.wide => tuple(key, usize::MAX),
        other => target(other, TOWARDS),
    };
    out.push_str(&text);
    let others = format!(" +{}", row.targets - 1);
    if row.targets > 1
        && (layout.wide || unicode_width::UnicodeWidthStr::width(&*text) + others.len() <= TOWARDS)
    {
        out.push_str(&others);
    }
}
