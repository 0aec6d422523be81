//! Owns: the head of the screen: in one look, how many, how fast, whether anything failed, and how long the ports last.
//! Must not know: the table below it.

use ratatui::style::Style;
use ratatui::text::{Line as Text, Span};
use unicode_width::UnicodeWidthStr as _;

use super::Paper;
use super::palette::{HISTORY, LABEL, PICKED, PLAIN, alarmed, bar, spark};
use crate::diagnose::OneLine;
use crate::diagnose::finding::Severity;
use crate::engine::{Counts, Fullest, Rates, Snapshot};
use crate::model::escape::{fit, printable};
use crate::model::figures::{percent, rate, span};
use crate::model::limitation::Limitation;
use crate::present::live::{living, lost, not_seen, reasons, tuple, until};
use crate::present::tui::state::State;
use crate::present::tui::views::{Alarm, alarm};
use crate::source::replay::Replaying;

/// In front of each line.
const LABELS: usize = 9;
/// Rows that are worth more than the whole head.
const ROWS: usize = 4;
/// Findings that are named, the worst first.
const FINDINGS: usize = 2;
/// Columns from which on there is room for more than what matters most.
const WIDE: usize = 110;

/// The lines for a screen so wide, as many as there is room for: what matters least goes first.
pub(super) fn lines(paper: &Paper<'_>, width: usize, height: usize) -> Vec<Text<'static>> {
    let snapshot = &paper.picture.frame.snapshot;
    let total = &snapshot.total;
    let (created, ended) = (&snapshot.created_history, &snapshot.ended_history);
    let room = width.saturating_sub(LABELS + 28 + 22);
    let seen = |series: &[u32]| series.iter().rev().take(room).copied().max().unwrap_or(0);
    let most = seen(created).max(seen(ended));
    let [who, how_full] = hottest(snapshot, width);
    let mut lines = vec![
        (0, title(paper, width)),
        (5, live(paper, width)),
        (6, flow("created", &total.created_rate, total.counts.created, (created, most, room))),
        (7, flow("ended", &total.ended_rate, total.counts.ended(), (ended, most, room))),
        (8, labelled("reasons", &reasons(snapshot), PLAIN, width)),
        (4, failed(&total.counts, width)),
        (2, who),
        (1, how_full),
    ];
    if !frame_limitations(paper).is_empty() {
        let text = not_seen(frame_limitations(paper));
        let matters = frame_limitations(paper).iter().any(|limitation| !limitation.what.is_usual());
        let (rank, alarm) = if matters { (3, Alarm::Warning) } else { (9, Alarm::None) };
        lines.push((rank, labelled("not seen", &text, alarmed(alarm), width)));
    }
    lines.extend(
        paper.picture.findings.iter().take(FINDINGS).zip([3, 9]).map(|(f, rank)| (rank, finding(f, width))),
    );
    let room = height.saturating_sub(ROWS).max(1);
    lines.retain(|(rank, _)| *rank < room);
    lines.into_iter().map(|(_, line)| line).collect()
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
    let wall_ns = frame.clock.wall_ns(snapshot.now_ns);
    let time = jiff::Timestamp::from_nanosecond(wall_ns.into()).unwrap_or_default();
    let time = time.to_zoned(paper.picture.zone.clone()).strftime("%H:%M:%S").to_string();
    let traced = span(snapshot.now_ns.saturating_sub(snapshot.began_ns) as f64 / 1e9);
    let mut text = format!("{time}, traced {traced} by {}, {}", frame.backend, lost(loss));
    let dropped = &snapshot.dropped;
    if *dropped != Default::default() {
        // Of rows, of events in rows, of sockets: the plain table says which.
        text += &format!(", no room {}", dropped.rows + dropped.events + dropped.sockets);
    }
    let style = alarmed(if loss.is_empty() { Alarm::None } else { Alarm::Warning });
    let mark = mark(paper.state);
    let room = width.saturating_sub(mark.len());
    let mut line = labelled("twtrace", &text, style, room);
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

/// Rate, all, and what happened lately. Both flows are drawn to one measure.
fn flow(label: &str, rates: &Rates, all: u64, (series, most, room): (&[u32], u32, usize)) -> Text<'static> {
    let rates = format!("{}/s", rate(rates.s1));
    let line = labelled(label, &format!("{rates:8} {all:>10} total   "), PLAIN, usize::MAX);
    let signs = spark(series, most, room);
    let signs = format!("{}{signs}", " ".repeat(room.saturating_sub(signs.chars().count())));
    let seconds = format!(" last {} s, max {most}/s", room.min(series.len()));
    line + Span::styled(signs, HISTORY) + Span::raw(seconds)
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

/// What the doctor would say first; `twtrace doctor` says the rest.
fn finding(found: &OneLine, width: usize) -> Text<'static> {
    let alarm = match found.severity {
        Severity::Critical => Alarm::Critical,
        Severity::Warning => Alarm::Warning,
        Severity::Notice | Severity::Fine => Alarm::None,
    };
    let text = if width < WIDE { found.text.clone() } else { format!("{}: {}", found.id, found.text) };
    labelled(found.severity.word(), &text, alarmed(alarm), width)
}

/// Who draws from the pool of ports that is full or full soonest, towards whom; and how long that lasts.
fn hottest(snapshot: &Snapshot, width: usize) -> [Text<'static>; 2] {
    let Some((row, pressure)) = snapshot.hottest.as_ref().and_then(|row| Some((row, row.pressure?))) else {
        return [labelled("hottest", "no tuple uses ephemeral ports", PLAIN, width), Text::raw("")];
    };
    let who = match row.main {
        Some(main) if !main.is_unknown() => format!("{}/{}", main.pid, printable(&main.comm.text())),
        _ => "unknown".to_owned(),
    };
    let room = width.saturating_sub(LABELS + who.width() + 2);
    let style = alarmed(alarm(Some(pressure)));
    let towards = tuple(&row.key, room);
    let until = until(pressure.full_in_s);
    let gauge = bar(pressure.fraction(), if width < WIDE { 10 } else { 30 });
    let (in_use, ports) = (pressure.in_use, pressure.ports);
    let used = format!("{gauge} {in_use} of {ports} ports ({}), {until}", percent(pressure.fraction()));
    [labelled("hottest", &format!("{who}  {towards}"), style, width), labelled("", &used, style, width)]
}
