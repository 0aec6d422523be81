//! Owns: the head of the screen: in one look, how many, how fast, with charts as high as there is room for, whether anything failed, and how
//! long the ports last.
//! Must not know: the table below it.

use ratatui::style::Style;
use ratatui::text::{Line as Text, Span};
use unicode_width::UnicodeWidthStr as _;

use super::Paper;
use crate::diagnose::OneLine;
use crate::diagnose::finding::{Finding, Severity};
use crate::engine::{Counts, Fullest, Rates, Snapshot, Target};
use crate::model::escape::fit;
use crate::model::figures::{percent, rate, span};
use crate::model::limitation::Limitation;
use crate::present::live::{drawer, living, lost, not_seen, reasons, target, tuple, until};
use crate::present::tui::palette::{HISTORY, LABEL, PICKED, PLAIN, alarmed, bar, chart};
use crate::present::tui::state::State;
use crate::present::tui::views::{Alarm, Picture, alarm};
use crate::source::replay::Replaying;

/// Label of the line that says when, and by what.
const TITLED: &str = "twtrace";
/// In front of each line.
const LABELS: usize = 9;
/// Rows that are worth more than the whole head.
const ROWS: usize = 4;
/// How soon the lines of findings, the worst first, go where there is little room: the first never does.
const RANKS: [usize; 3] = [0, 4, 9];
/// Lines that the first of them may take.
const VERDICT: usize = 3;
/// Columns from which on there is room for more than what matters most.
const WIDE: usize = 110;

/// The lines for a screen so wide, as many as there is room for: what matters least goes first.
pub(super) fn lines(paper: &Paper<'_>, width: usize, height: usize) -> Vec<Text<'static>> {
    let snapshot = &paper.picture.frame.snapshot;
    let total = &snapshot.total;
    let [who, how_full] = hottest(snapshot, width);
    let mut lines = verdict(paper, width);
    lines.extend([(1, title(paper, width)), (6, live(paper, width))]);
    lines.extend(flow_lines(snapshot, width, height));
    lines.extend([
        (9, labelled("reasons", &reasons(snapshot), PLAIN, width)),
        (5, failed(&total.counts, width)),
        (3, who),
        (2, how_full),
    ]);
    if !frame_limitations(paper).is_empty() {
        let text = not_seen(frame_limitations(paper));
        let matters = frame_limitations(paper).iter().any(|limitation| !limitation.what.is_usual());
        let (rank, alarm) = if matters { (4, Alarm::Warning) } else { (10, Alarm::None) };
        lines.push((rank, labelled("not seen", &text, alarmed(alarm), width)));
    }
    fit_in(&mut lines, width, height.saturating_sub(ROWS).max(1));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Leaves what there is room for: what matters least goes first, the verdict's first line never.
fn fit_in(lines: &mut Vec<(usize, Text<'static>)>, width: usize, room: usize) {
    while lines.len() > room {
        let least = lines.iter().enumerate().max_by_key(|(at, (rank, _))| (*rank, *at));
        let Some((at, _)) = least else { return };
        let (rank, _) = lines.remove(at);
        if rank == RANKS[0]
            && let Some((_, line)) = at.checked_sub(1).and_then(|before| lines.get_mut(before))
        {
            mark_cut(line, width);
        }
    }
}

/// A verdict that has lost its end says so.
fn mark_cut(line: &mut Text<'static>, width: usize) {
    if let Some(last) = line.spans.last_mut() {
        let text = last.content.trim_end_matches([':', '…', ' ']);
        let kept = fit(text, width.saturating_sub(LABELS + 1)).into_owned();
        last.content = format!("{}…", kept.trim_end_matches('…')).into();
    }
}

/// What is wrong, worst first; where nothing is, what was looked at.
fn verdict(paper: &Paper<'_>, width: usize) -> Vec<(usize, Text<'static>)> {
    let pressing = paper.picture.findings.iter().filter(|finding| finding.severity != Severity::Fine);
    let mut lines: Vec<_> = Vec::new();
    for (rank, found) in RANKS.into_iter().zip(pressing) {
        lines.extend(finding(found, width, rank == 0).into_iter().map(|line| (rank, line)));
    }
    if lines.is_empty() {
        lines.push((0, labelled("OK", &nothing_wrong(paper.picture), PLAIN, width)));
    }
    lines
}

fn nothing_wrong(picture: &Picture) -> String {
    let snapshot = &picture.frame.snapshot;
    let traced = picture.frame.traced();
    let fullest = snapshot.hottest.as_ref().and_then(|row| Some((row, row.pressure?)));
    match fullest {
        Some((row, pressure)) => {
            let to = target(&Target::Tuple(row.key), usize::MAX);
            format!("nothing fails of late; ports to {to} are used most: {}", percent(pressure.fraction()))
        }
        None if snapshot.total.live == 0 && snapshot.total.counts.events() == 0 => {
            format!("no TIME_WAIT socket, no failure in {traced}; watched: {}", picture.watched())
        }
        None => format!("nothing fails of late, in {traced} of tracing"),
    }
}

/// Whether it is the first line below the findings.
pub(super) fn is_title(line: &Text<'_>) -> bool {
    line.spans.first().is_some_and(|span| span.content.trim_end() == TITLED)
}

fn frame_limitations<'a>(paper: &'a Paper<'_>) -> &'a [Limitation] {
    &paper.picture.frame.limitations
}

fn labelled(label: &str, text: &str, style: Style, width: usize) -> Text<'static> {
    let text = fit(text, width.saturating_sub(LABELS)).into_owned();
    Text::from(vec![Span::styled(format!("{label:LABELS$}"), LABEL), Span::styled(text, style)])
}

fn title(paper: &Paper<'_>, width: usize) -> Text<'static> {
    let frame = &paper.picture.frame;
    let (snapshot, loss) = (&frame.snapshot, &frame.snapshot.total.counts.loss);
    let time = paper.picture.time_at(snapshot.now_ns).strftime("%H:%M:%S").to_string();
    let traced = frame.traced();
    let mut text = format!("{time}, traced {traced} by {}, {}", frame.backend, lost(loss));
    let dropped = &snapshot.dropped;
    if *dropped != Default::default() {
        // Of rows, of events in rows, of sockets: the plain table says which.
        text += &format!(", no room {}", dropped.rows + dropped.events + dropped.sockets);
    }
    if let Some(every) = paper.state.every {
        text += &format!(", every {}", span(every.as_secs_f64()));
    }
    let style = alarmed(if loss.is_empty() { Alarm::None } else { Alarm::Warning });
    let mark = mark(paper.state);
    let room = width.saturating_sub(mark.len());
    let mut line = labelled(TITLED, &text, style, room);
    if !mark.is_empty() {
        line.push_span(" ".repeat(room.saturating_sub(line.width())));
        line.push_span(Span::styled(mark, PICKED));
    }
    line
}

/// What keeps the picture from being this machine's, now.
fn mark(state: &State) -> String {
    let paused = if state.is_paused { "PAUSED " } else { "" };
    match &state.replay {
        None if state.is_paused => format!(" {paused}"),
        None => String::new(),
        Some(Replaying { is_seeking: true, .. }) => " REPLAY SEEKING ".to_owned(),
        Some(Replaying { is_over: true, .. }) => " REPLAY END ".to_owned(),
        Some(Replaying { speed, .. }) => format!(" REPLAY {speed} {paused}"),
    }
}

fn live(paper: &Paper<'_>, width: usize) -> Text<'static> {
    let frame = &paper.picture.frame;
    let share = |fullest: &Fullest| fullest.live as f64 / f64::from(fullest.max_tw_buckets.max(1));
    let is_full = frame.snapshot.fullest.as_ref().is_some_and(|fullest| share(fullest) >= 0.9);
    let style = alarmed(if is_full { Alarm::Critical } else { Alarm::None });
    labelled("live", &living(frame, width.saturating_sub(LABELS)), style, width)
}

fn failed(counts: &Counts, width: usize) -> Text<'static> {
    let Counts { overflow, connect_failed, bind_failed, aborted, syn_refused, .. } = *counts;
    let text = counts.failed();
    let alarm = match (overflow + aborted + syn_refused, connect_failed + bind_failed) {
        (0, 0) => Alarm::None,
        (_, 0) => Alarm::Warning,
        _ => Alarm::Critical,
    };
    labelled("failed", &text, alarmed(alarm), width)
}

/// A finding in a line, as whole as there is room for; in more where it `matters_most`.
fn finding(found: &Finding, width: usize, matters_most: bool) -> Vec<Text<'static>> {
    let alarm = match found.severity {
        Severity::Critical => Alarm::Critical,
        Severity::Warning => Alarm::Warning,
        Severity::Notice | Severity::Fine => Alarm::None,
    };
    let line = OneLine::from(found);
    let label = found.severity.word().to_uppercase();
    if !matters_most {
        return vec![labelled(&label, line.short(), alarmed(alarm), width)];
    }
    // A name of a stranger may be wider than the screen.
    let room = width.saturating_sub(LABELS).max(1);
    let parts = textwrap::wrap(line.short(), room);
    let labels = std::iter::once(label.as_str()).chain(std::iter::repeat(""));
    let shown = labels.zip(parts.iter().take(VERDICT));
    let mut lines: Vec<_> = shown.map(|(label, part)| labelled(label, part, alarmed(alarm), width)).collect();
    if let Some(last) = lines.last_mut().filter(|_| parts.len() > VERDICT) {
        mark_cut(last, width);
    }
    lines
}

/// Who draws from the pool of ports that is full or full soonest, towards whom; and how long that lasts.
fn hottest(snapshot: &Snapshot, width: usize) -> [Text<'static>; 2] {
    let Some((row, pressure)) = snapshot.hottest.as_ref().and_then(|row| Some((row, row.pressure?))) else {
        return [labelled("hottest", "no tuple uses ephemeral ports", PLAIN, width), Text::raw("")];
    };
    let who = drawer(row, snapshot);
    let room = width.saturating_sub(LABELS + who.width() + 2);
    let style = alarmed(alarm(Some(pressure)));
    let towards = tuple(&row.key, room);
    let until = until(&pressure);
    let gauge = bar(pressure.fraction(), if width < WIDE { 10 } else { 30 });
    let (in_use, ports) = (pressure.in_use, pressure.ports);
    let used = format!("{gauge} {in_use} of {ports} ports ({}), {until}", percent(pressure.fraction()));
    [labelled("hottest", &format!("{who}  {towards}"), style, width), labelled("", &used, style, width)]
}

/// Columns of the rates, narrow and wide; of what stands behind a chart.
const RATES: (usize, usize) = (31, 59);
const BEHIND: usize = 23;
/// From so many lines on, charts are of several rows: one more for each so many.
const TALL: (usize, usize) = (30, 8);
/// Rows of a chart at most.
const CHART_ROWS: usize = 4;

/// A flow, and how soon its lines go where there is little room.
struct Flow<'a> {
    label: &'static str,
    rank: usize,
    rates: &'a Rates,
    all: u64,
    /// In each of the last seconds, oldest first.
    series: &'a [u32],
}

/// How soon what is above the lowest row of a chart goes.
const UPPER: usize = 11;

/// The lines for a screen so wide and high, each with how soon it goes. Both flows are drawn to one measure.
fn flow_lines(snapshot: &Snapshot, width: usize, height: usize) -> Vec<(usize, Text<'static>)> {
    let total = &snapshot.total;
    let rates = if width < WIDE { RATES.0 } else { RATES.1 };
    let room = width.saturating_sub(LABELS + rates + BEHIND);
    let rows = (1 + height.saturating_sub(TALL.0) / TALL.1).min(CHART_ROWS);
    let flows = [
        Flow {
            label: "created",
            rank: 7,
            rates: &total.created_rate,
            all: total.counts.created,
            series: &snapshot.created_history,
        },
        Flow {
            label: "ended",
            rank: 8,
            rates: &total.ended_rate,
            all: total.counts.ended(),
            series: &snapshot.ended_history,
        },
    ];
    let seen = |flow: &Flow<'_>| flow.series.iter().rev().take(room).copied().max().unwrap_or(0);
    let most = flows.iter().map(seen).max().unwrap_or(0);
    flows.iter().flat_map(|flow| flow.lines(width, (most, room, rows))).collect()
}

impl Flow<'_> {
    /// How many a second over each window, how many in all, and what happened lately.
    fn lines(&self, width: usize, (most, room, rows): (u32, usize, usize)) -> Vec<(usize, Text<'static>)> {
        let Rates { s1, s10, s60 } = *self.rates;
        let window = |value: f64, seconds: u32| format!("{:>7} {seconds:>2} s", format!("{}/s", rate(value)));
        let (text, taken) = match width < WIDE {
            true => (window(s10, 10), RATES.0),
            false => (format!("{}, {}, {}", window(s1, 1), window(s10, 10), window(s60, 60)), RATES.1),
        };
        let text = format!("{text} {:>10} total", self.all);
        let is_flat = self.series.iter().rev().take(room).all(|count| *count == 0);
        let chart = chart(self.series, most, room, if is_flat { 1 } else { rows });
        let lowest = chart.len().saturating_sub(1);
        let line = |(at, signs): (usize, String)| {
            let (label, text) = if at == lowest { (self.label, text.as_str()) } else { ("", "") };
            let line = labelled(label, &format!("{text:taken$}"), PLAIN, usize::MAX);
            let signs = format!("{}{signs}", " ".repeat(room.saturating_sub(signs.chars().count())));
            let seconds = match at == lowest {
                true if room != 0 => format!(" last {} s, max {most}/s", room.min(self.series.len())),
                _ => String::new(),
            };
            let rank = if at == lowest { self.rank } else { UPPER };
            (rank, line + Span::styled(signs, HISTORY) + Span::raw(seconds))
        };
        chart.into_iter().enumerate().map(line).collect()
    }
}
