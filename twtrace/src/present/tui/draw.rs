//! Owns: the screen as a whole, from the state and a picture. Draws into a buffer, and changes nothing else.
//! Must not know: the terminal, keys.

mod details;
mod happened;
mod head;
mod help;
mod page;
mod table;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line as Text;
use ratatui::widgets::Widget as _;

use unicode_width::UnicodeWidthStr as _;

use super::palette::{self, PICKED, PLAIN, TITLE};
use super::state::{Drawn, Mode, State};
use super::views::{Id, Opened, Picture, Tab, ViewRow, shown};
use crate::model::escape::{fit, printable};

/// Lines below the head that are always there: views, titles, one row, keys.
const REST: u16 = 4;

/// All that goes onto the screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper<'a> {
    pub(super) state: &'a State,
    pub(super) picture: &'a Picture,
    /// Of the line whose details are open, or stand below the table; `None` where it is gone.
    pub(super) opened: Option<&'a Opened>,
}

/// From this size on the selected line's details stand below the table, however many rows it has.
const PANE_FROM: (u16, u16) = (140, 40);
/// The share of the table's room that they then take at least: one part in so many.
const PANE_SHARE: u16 = 3;
/// On any screen they do where the rows leave so many lines blank.
const PANE_SPARE: u16 = 8;

fn has_pane(area: Rect) -> bool {
    area.width >= PANE_FROM.0 && area.height >= PANE_FROM.1
}

/// Whose details are to be drawn on a screen of this size: those that are open, else those of the selected line where there is room.
pub(super) fn wanted(state: &State, area: Rect, drawn: &Drawn) -> Option<Id> {
    match &state.mode {
        Mode::Details(id, _) => Some(id.clone()),
        Mode::Table | Mode::Typing if has_pane(area) || drawn.spare >= PANE_SPARE => {
            state.selected(&drawn.ids).map(|at| drawn.ids[at].clone())
        }
        _ => None,
    }
}

impl Paper<'_> {
    /// Draws, and says what is where.
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) -> Drawn {
        if area.height < REST || area.width < 10 {
            put(buffer, area, 0, "too small", PLAIN);
            return Drawn::default();
        }
        let head = head::lines(self, area.width.into(), (area.height - REST).into());
        let (below, title) = (head.len() as u16, head.iter().position(head::is_title));
        put_lines(buffer, area, head);
        let findings = title.map_or(below, |title| title as u16);
        if self.state.is_on_verdict() {
            buffer.set_style(Rect { height: findings, ..area }, PICKED);
        }
        let mut drawn = Drawn { body: (below + 2, area.height - below - 3), findings, ..Drawn::default() };
        drawn.tabs = self.put_tabs(buffer, area, below);
        let body = Rect { y: area.y + below + 1, height: area.height - below - 2, ..area };
        let position = match &self.state.mode {
            Mode::Table | Mode::Typing => self.put_table(area, body, buffer, &mut drawn),
            Mode::Doctor(scrolled) => {
                let lines = page::doctor(self.picture, body.width.into());
                put_over(buffer, body, lines, *scrolled, &mut drawn)
            }
            Mode::Sorting(at) => {
                // The chosen line is the last that is seen, at most.
                let scrolled = (at + 1).saturating_sub(usize::from(body.height - 1));
                put_over(buffer, body, page::sorting(self.state, *at), scrolled, &mut drawn)
            }
            Mode::Help(scrolled) => {
                let lines = help::lines(self.state.replay.is_some(), body.width.into());
                put_over(buffer, body, lines, *scrolled, &mut drawn)
            }
            Mode::Details(id, scrolled) => {
                let lines = details::lines(self.opened, id, self.picture, body.width.into());
                put_over(buffer, body, lines, *scrolled, &mut drawn)
            }
        };
        drawn.foot = (area.height - 1, labels(&self.put_foot(buffer, area, &position, &drawn.ids)));
        self.state.palette.finish(buffer);
        drawn
    }

    /// The table, and below it what there is to say of its selected line.
    fn put_table(&self, area: Rect, body: Rect, buffer: &mut Buffer, drawn: &mut Drawn) -> String {
        let Self { state, picture, .. } = *self;
        let rows = shown(state.tab, picture, state.sort(), &state.filter, &state.unfolded);
        drawn.ids = rows.iter().map(ViewRow::id).collect();
        // Titles, and a line that says why there are no rows.
        drawn.spare = (body.height - 1).saturating_sub(rows.len().clamp(1, body.height.into()) as u16);
        let lines = self.pane(area, body, drawn);
        let pane = lines.len() as u16;
        let above = Rect { height: body.height - pane, ..body };
        drawn.body.1 -= pane;
        let position = table::draw(self, &rows, above, buffer, drawn);
        put_lines(buffer, Rect { y: above.bottom(), height: pane, ..body }, lines);
        position
    }

    /// The selected line's details, as much of them as there is room for below the rows.
    fn pane(&self, area: Rect, body: Rect, drawn: &Drawn) -> Vec<Text<'static>> {
        let least = if has_pane(area) { body.height / PANE_SHARE } else { 0 };
        let room = usize::from(if drawn.spare >= PANE_SPARE { least.max(drawn.spare) } else { least });
        let selected = self.state.selected(&drawn.ids).filter(|_| room != 0 && self.opened.is_some());
        let id = selected.map(|at| &drawn.ids[at]).filter(|id| !matches!(id, Id::Fold(_) | Id::Repeat(_)));
        let Some(id) = id else { return Vec::new() };
        let mut lines = details::lines(self.opened, id, self.picture, body.width.into());
        if let Some(title) = lines.first_mut() {
            *title = title.clone().style(TITLE);
        }
        if lines.len() > room {
            lines.truncate(room - 1);
            lines.push(Text::styled(" … Enter: all of it", palette::LABEL));
        }
        lines
    }

    /// Names of views, the open one in brackets; where there is no room for names, numbers.
    fn put_tabs(&self, buffer: &mut Buffer, area: Rect, y: u16) -> Vec<(u16, u16)> {
        let named = Tab::ALL.into_iter().map(|tab| tab.name().len() + 3).sum::<usize>() + 1;
        let has_room = named <= area.width.into();
        let (mut x, mut spans) = (0, Vec::new());
        for (at, tab) in Tab::ALL.into_iter().enumerate() {
            let is_open = tab == self.state.tab;
            let name = if is_open || has_room {
                format!("{} {}", at + 1, tab.name())
            } else {
                format!("{}", at + 1)
            };
            let width = name.len() as u16;
            if is_open {
                put_at(buffer, area, (x, y), &format!("[{name}]"), PICKED);
            } else {
                put_at(buffer, area, (x + 1, y), &name, PLAIN);
            }
            spans.push((x + 1, x + 1 + width));
            x += width + 1;
        }
        spans
    }

    /// What the keys do here, and which lines are seen. Returns the former, as far as there is room.
    fn put_foot(&self, buffer: &mut Buffer, area: Rect, position: &str, ids: &[Id]) -> String {
        const KEYS: &str = "?: help  q: quit  d: doctor  /: filter  s: sort  Enter: details";
        let is_opened = self.state.last_opened(ids).is_some();
        let filter = printable(&self.state.filter);
        let text = match &self.state.mode {
            Mode::Typing => {
                let keys = "_   Enter: keep  Esc: clear";
                // What is typed now stands at the end.
                let room = usize::from(area.width).saturating_sub(keys.len() + position.len() + 2);
                format!("/{}{keys}", tail(&filter, room))
            }
            Mode::Help(_) => "Esc: back  Up/Down: scroll".to_owned(),
            Mode::Doctor(_) => {
                let file = if self.state.replay.is_some() { " FILE" } else { "" };
                format!("Esc: back  Up/Down: scroll  more: twtrace doctor{file}")
            }
            Mode::Sorting(_) => "Enter: sort by it  Up/Down: select  Esc: back".to_owned(),
            Mode::Details(..) => "Esc: back  Up/Down: scroll  space: pause  ?: help".to_owned(),
            Mode::Table if !filter.is_empty() => {
                let what = if is_opened { "close" } else { "clear" };
                format!("filter: {filter}  /: change  Esc: {what}")
            }
            Mode::Table if is_opened => format!("Esc: close  {KEYS}"),
            Mode::Table => KEYS.to_owned(),
        };
        let width = usize::from(area.width);
        let room = if position.is_empty() { width } else { width.saturating_sub(position.len() + 1) };
        let y = area.height - 1;
        let text = fit(&text, room).into_owned();
        put(buffer, area, y, &text, palette::LABEL);
        let x = width.saturating_sub(position.len());
        put_at(buffer, area, (x as u16, y), position, PLAIN);
        text
    }
}

/// Where the labels of a foot stand: the first column, the first behind it, and the key that it names.
fn labels(foot: &str) -> Vec<(u16, u16, KeyCode)> {
    let mut at = 0;
    let mut all = Vec::new();
    for label in foot.split("  ") {
        let end = at + label.width() as u16;
        let key = match label.split(':').next() {
            Some("Enter") => Some(KeyCode::Enter),
            Some("Esc") => Some(KeyCode::Esc),
            Some("space") => Some(KeyCode::Char(' ')),
            Some(key) if key.chars().count() == 1 => key.chars().next().map(KeyCode::Char),
            _ => None,
        };
        all.extend(key.map(|key| (at, end, key)));
        at = end + 2;
    }
    all
}

/// The end of `text`, as much as `width` columns hold.
fn tail(text: &str, width: usize) -> &str {
    let ends = text.char_indices().map(|(at, _)| &text[at..]);
    ends.chain([""]).find(|end| end.width() <= width).unwrap_or_default()
}

/// Lines in place of the table, the first of them as its title. Returns which of them are seen.
fn put_over(
    buffer: &mut Buffer,
    area: Rect,
    mut lines: Vec<Text<'static>>,
    scrolled: usize,
    drawn: &mut Drawn,
) -> String {
    let title = lines.remove(0).style(TITLE);
    let room = usize::from(area.height - 1);
    drawn.scroll_end = lines.len().saturating_sub(room);
    let top = scrolled.min(drawn.scroll_end);
    let all = lines.len();
    let seen = lines.into_iter().skip(top).take(room);
    put_lines(buffer, area, std::iter::once(title).chain(seen));
    if all > room { format!("lines {}-{} of {all}", top + 1, top + room) } else { String::new() }
}

fn put_lines(buffer: &mut Buffer, area: Rect, lines: impl IntoIterator<Item = Text<'static>>) {
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        line.render(Rect { y, height: 1, ..area }, buffer);
    }
}

fn put(buffer: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
    put_at(buffer, area, (0, y), text, style);
}

/// Writes at a place in `area`, and never beyond it.
fn put_at(buffer: &mut Buffer, area: Rect, (x, y): (u16, u16), text: &str, style: Style) {
    if x < area.width && y < area.height {
        buffer.set_stringn(area.x + x, area.y + y, text, (area.width - x).into(), style);
    }
}
