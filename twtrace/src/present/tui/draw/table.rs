//! Owns: a view's table: titles, rows, the selected one.
//! Must not know: what stands in the cells.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use unicode_width::UnicodeWidthStr as _;

use super::{Paper, put, put_at};
use crate::engine::Fold;
use crate::model::escape::fit;
use crate::present::tui::palette::{PICKED, PLAIN, TITLE, alarmed};
use crate::present::tui::state::Drawn;
use crate::present::tui::views::{Alarm, Column, MARKS, Tab, ViewRow, fitting};

/// In front of the selected row, and of one that is followed wherever the order puts it.
const SELECTED: char = '>';
const FOLLOWED: char = 'F';

/// Draws into `area`, titles first. `drawn` has the names of the rows. Returns which of them are seen.
pub(super) fn draw(
    paper: &Paper<'_>,
    rows: &[ViewRow<'_>],
    area: Rect,
    buffer: &mut Buffer,
    drawn: &mut Drawn,
) -> String {
    let state = paper.state;
    let columns = state.columns();
    let spans = fitting(&columns, area.width);
    put_titles(paper, &columns, &spans, area, buffer);
    let room = usize::from(area.height - 1);
    let selected = state.selected(&drawn.ids);
    drawn.top = state.top(selected.unwrap_or(0), rows.len(), room);
    if rows.is_empty() {
        put(buffer, area, 1, empty(paper), PLAIN);
    }
    for (at, row) in rows.iter().enumerate().skip(drawn.top).take(room) {
        let y = (at - drawn.top + 1) as u16;
        let cursor = match selected {
            Some(selected) if selected == at && state.follows() => FOLLOWED,
            Some(selected) if selected == at => SELECTED,
            _ => ' ',
        };
        put_row(row, cursor, &columns, &spans, Rect { y: area.y + y, height: 1, ..area }, buffer);
    }
    drawn.spans = spans;
    if rows.is_empty() {
        return String::new();
    }
    let end = rows.len().min(drawn.top + room);
    format!("{}{}-{end} of {}", folded(paper), drawn.top + 1, rows.len())
}

/// What processes are folded into, where that is not as ever.
fn folded(paper: &Paper<'_>) -> &'static str {
    match paper.state.fold {
        _ if paper.state.tab != Tab::Processes => "",
        Fold::Gone => "",
        Fold::Program => "by program  ",
        Fold::Unit => "by unit  ",
        Fold::Container => "by container  ",
        Fold::Pod => "by pod  ",
        Fold::Netns => "by netns  ",
    }
}

fn empty(paper: &Paper<'_>) -> &'static str {
    match paper.state.tab {
        _ if !paper.state.filter.is_empty() => " nothing matches the filter",
        Tab::Events => " no event yet",
        Tab::Failures if !paper.picture.frame.snapshot.only.is_empty() => {
            " with --reason only ends are listed; failures are counted above"
        }
        Tab::Failures => " no failure, no overflow, nothing lost since tracing began",
        Tab::Tuples => " no TIME_WAIT socket towards a remote end yet",
        Tab::Ports => " no TIME_WAIT socket on a served port yet",
        _ => " no TIME_WAIT socket yet; to try: twtrace list (what exists), twtrace demo",
    }
}

fn put_titles(
    paper: &Paper<'_>,
    columns: &[Column],
    spans: &[(usize, u16, u16)],
    area: Rect,
    buffer: &mut Buffer,
) {
    let sort = paper.state.sort();
    for &(at, x, width) in spans {
        let column = columns[at];
        let is_sorted = at == sort.column;
        let style = if is_sorted { TITLE.add_modifier(Modifier::UNDERLINED) } else { TITLE };
        put_cell(column.title, column.is_right, (x, width), area, buffer, style);
        if is_sorted {
            // A text's sign stands behind its title, a number's in the gap behind its column.
            let behind = if column.is_right { width } else { column.title.len() as u16 };
            put_at(buffer, area, (x + behind, 0), if sort.down { "▼" } else { "▲" }, TITLE);
        }
    }
}

fn put_row(
    row: &ViewRow<'_>,
    cursor: char,
    columns: &[Column],
    spans: &[(usize, u16, u16)],
    area: Rect,
    buffer: &mut Buffer,
) {
    let alarm = row.alarm();
    let style = alarmed(alarm);
    for &(at, x, width) in spans {
        let value = row.value(columns[at].what);
        put_cell(&value.text(width.into()), columns[at].is_right, (x, width), area, buffer, style);
    }
    // Not by colour alone.
    let alarm = match alarm {
        Alarm::Critical => '!',
        Alarm::Warning => '*',
        Alarm::None => ' ',
    };
    let sign = |is_so: bool, sign: char| if is_so { sign } else { ' ' };
    let marks = [cursor, alarm, sign(row.is_gone(), 'x')];
    const { assert!(MARKS == 3) };
    put(buffer, area, 0, &String::from_iter(marks), style);
    if cursor != ' ' {
        buffer.set_style(area, PICKED);
    }
}

fn put_cell(
    text: &str,
    is_right: bool,
    (x, width): (u16, u16),
    area: Rect,
    buffer: &mut Buffer,
    style: ratatui::style::Style,
) {
    let text = fit(text, width.into());
    let used = text.width() as u16;
    let indent = if is_right { width.saturating_sub(used) } else { 0 };
    put_at(buffer, area, (x + indent, 0), &text, style);
}
