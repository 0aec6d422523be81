//! Owns: a view's table: titles, rows, the selected one.
//! Must not know: what stands in the cells.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use unicode_width::UnicodeWidthStr as _;

use super::ink::{PICKED, PLAIN, TITLE, alarmed};
use super::{Paper, put, put_at};
use crate::escape::fit;
use crate::tui::state::Drawn;
use crate::tui::views::{Alarm, Column, Line, Tab, fitting, shown};

/// Draws into `area`, titles first. Returns which rows are seen.
pub(super) fn draw(paper: &Paper<'_>, area: Rect, buffer: &mut Buffer, drawn: &mut Drawn) -> String {
    let state = paper.state;
    let columns = state.columns();
    let places = fitting(&columns, area.width);
    put_titles(paper, &columns, &places, area, buffer);
    let lines = shown(state.tab, paper.picture, state.sort(), &state.filter);
    let room = usize::from(area.height - 1);
    drawn.ids = lines.iter().map(|line| line.id.clone()).collect();
    let selected = state.selected(&drawn.ids);
    drawn.top = state.top(selected, lines.len(), room);
    if lines.is_empty() {
        put(buffer, area, 1, empty(paper), PLAIN);
    }
    for (at, line) in lines.iter().enumerate().skip(drawn.top).take(room) {
        let y = (at - drawn.top + 1) as u16;
        put_line(line, at == selected, &columns, &places, Rect { y: area.y + y, height: 1, ..area }, buffer);
    }
    drawn.places = places;
    if lines.is_empty() {
        return String::new();
    }
    let end = lines.len().min(drawn.top + room);
    format!("{}-{end} of {}", drawn.top + 1, lines.len())
}

fn empty(paper: &Paper<'_>) -> &'static str {
    match paper.state.tab {
        _ if !paper.state.filter.is_empty() => " nothing matches the filter",
        Tab::Events => " no event yet",
        Tab::Failures => " no failure, no overflow, nothing lost since tracing began",
        Tab::Tuples => " no TIME_WAIT socket towards a remote end yet",
        Tab::Ports => " no TIME_WAIT socket on a served port yet",
        _ => " no TIME_WAIT socket yet",
    }
}

fn put_titles(
    paper: &Paper<'_>,
    columns: &[Column],
    places: &[(usize, u16, u16)],
    area: Rect,
    buffer: &mut Buffer,
) {
    let sort = paper.state.sort();
    for &(at, x, width) in places {
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

fn put_line(
    line: &Line,
    is_selected: bool,
    columns: &[Column],
    places: &[(usize, u16, u16)],
    area: Rect,
    buffer: &mut Buffer,
) {
    let style = alarmed(line.alarm);
    for &(at, x, width) in places {
        let text = line.values[at].text(width.into());
        put_cell(&text, columns[at].is_right, (x, width), area, buffer, style);
    }
    // Not by colour alone.
    let mark = match (is_selected, line.alarm) {
        (true, _) => ">",
        (false, Alarm::Critical) => "!",
        (false, Alarm::Warning) => "*",
        (false, Alarm::None) => " ",
    };
    put(buffer, area, 0, mark, style);
    if is_selected {
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
