//! Owns: the lines of the head that say how many sockets come and go, with charts as high as there is room for.
//! Must not know: the rest of the head.

use ratatui::text::{Line as Text, Span};

use super::{LABELS, labelled};
use crate::engine::{Rates, Snapshot};
use crate::model::figures::rate;
use crate::present::tui::palette::{HISTORY, PLAIN, chart};

/// Columns of the rates, narrow and wide; of what stands behind a chart.
const RATES: (usize, usize) = (31, 59);
const BEHIND: usize = 23;
/// Screens from this width on have the rates of all windows.
const WIDE: usize = 110;
/// From so many lines on, charts are of several rows: one more for each so many.
const TALL: (usize, usize) = (30, 8);
/// Rows of a chart at most.
const ROWS: usize = 4;

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
pub(super) fn lines(snapshot: &Snapshot, width: usize, height: usize) -> Vec<(usize, Text<'static>)> {
    let total = &snapshot.total;
    let rates = if width < WIDE { RATES.0 } else { RATES.1 };
    let room = width.saturating_sub(LABELS + rates + BEHIND);
    let rows = (1 + height.saturating_sub(TALL.0) / TALL.1).min(ROWS);
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
