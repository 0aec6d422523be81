//! Owns: what is selected in a view, how keys move that, and what each click and turn of the wheel changes in what the user asked for.
//! Must not know: how anything is drawn, the terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{Drawn, Mode, State, Wish};
use crate::present::tui::views::{Id, Sort, columns};

/// What is selected in one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The line above the table that says what is wrong.
    Verdict,
    /// A line of the table, whatever comes to stand on it.
    Line(usize),
    /// A row, wherever the order puts it.
    Followed(Id),
}

/// How many lines down a key moves, whatever that is done to; `None` for a key that does something else.
pub(super) fn lines(key: KeyCode, drawn: &Drawn) -> Option<isize> {
    let page = isize::try_from(drawn.body.1).unwrap_or(isize::MAX).max(1);
    Some(match key {
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::PageDown => page,
        KeyCode::PageUp => -page,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        _ => return None,
    })
}

fn moved(at: usize, by: isize, last: usize) -> usize {
    at.min(last).saturating_add_signed(by).min(last)
}

impl State {
    fn cursor(&self) -> &Cursor {
        &self.choices[self.tab as usize].cursor
    }

    /// Index of the selected line; `None` where the verdict is, or there is no line.
    pub(in crate::present::tui) fn selected(&self, ids: &[Id]) -> Option<usize> {
        let last = ids.len().checked_sub(1)?;
        match self.cursor() {
            Cursor::Verdict => None,
            Cursor::Line(at) => Some((*at).min(last)),
            // One that is gone leaves the first line.
            Cursor::Followed(row) => Some(ids.iter().position(|id| id == row).unwrap_or(0)),
        }
    }

    /// Whether the line above the table is selected that says what is wrong.
    pub(in crate::present::tui) fn is_on_verdict(&self) -> bool {
        self.mode == Mode::Table && *self.cursor() == Cursor::Verdict
    }

    /// Whether the selected row is followed wherever the order puts it.
    pub(in crate::present::tui) fn follows(&self) -> bool {
        matches!(self.cursor(), Cursor::Followed(_))
    }

    /// Moves by so many lines: what lies over the table is scrolled, else another line is selected.
    pub(super) fn move_by(&mut self, by: isize, drawn: &Drawn) -> Wish {
        match &mut self.mode {
            Mode::Help(scrolled) | Mode::Details(_, scrolled) | Mode::Doctor(scrolled) => {
                *scrolled = moved(*scrolled, by, drawn.scroll_end);
                Wish::Draw
            }
            Mode::Sorting(at) => {
                *at = moved(*at, by, columns(self.tab).len().saturating_sub(1));
                Wish::Draw
            }
            Mode::Table | Mode::Typing => self.select_by(by, drawn),
        }
    }

    fn select_by(&mut self, by: isize, drawn: &Drawn) -> Wish {
        let selected = self.selected(&drawn.ids);
        // One line above the first is the verdict.
        if by == -1 && selected.unwrap_or(0) == 0 && drawn.findings != 0 {
            self.choice().cursor = Cursor::Verdict;
            return Wish::Draw;
        }
        let Some(last) = drawn.ids.len().checked_sub(1) else { return Wish::Nothing };
        // From the verdict it is one line down to the first.
        let to = match selected {
            Some(at) => moved(at, by, last),
            None => moved(0, by.saturating_sub(1), last),
        };
        let choice = self.choice();
        choice.cursor = Cursor::Line(to);
        choice.top = drawn.top;
        Wish::Draw
    }

    /// Follows the selected row, or lets it go.
    pub(super) fn follow(&mut self, drawn: &Drawn) {
        let Some(at) = self.selected(&drawn.ids) else { return };
        let cursor = if self.follows() { Cursor::Line(at) } else { Cursor::Followed(drawn.ids[at].clone()) };
        self.choice().cursor = cursor;
    }
}

/// Lines that the wheel scrolls.
const WHEEL: isize = 3;

impl State {
    /// The mouse did something.
    pub(in crate::present::tui) fn click(&mut self, mouse: MouseEvent, drawn: &Drawn) -> Wish {
        let by = match mouse.kind {
            MouseEventKind::ScrollDown => WHEEL,
            MouseEventKind::ScrollUp => -WHEEL,
            MouseEventKind::Down(MouseButton::Left) => return self.point(mouse.column, mouse.row, drawn),
            _ => return Wish::Nothing,
        };
        // There are few columns.
        self.move_by(if matches!(self.mode, Mode::Sorting(_)) { by.signum() } else { by }, drawn)
    }

    fn point(&mut self, x: u16, y: u16, drawn: &Drawn) -> Wish {
        let (first, room) = drawn.body;
        if y == drawn.foot.0 {
            let key = drawn.foot.1.iter().find(|(from, to, _)| (*from..*to).contains(&x));
            return key.map_or(Wish::Nothing, |(.., key)| {
                self.press(KeyEvent::new(*key, KeyModifiers::NONE), drawn)
            });
        }
        if y < drawn.findings {
            self.mode = Mode::Doctor(0);
            return Wish::Draw;
        }
        if y + 2 == first {
            let tab = drawn.tabs.iter().position(|(from, to)| (*from..*to).contains(&x));
            return tab.map_or(Wish::Nothing, |tab| self.go(tab));
        }
        if !matches!(self.mode, Mode::Table | Mode::Typing) {
            return Wish::Nothing;
        }
        if y + 1 == first {
            let column = drawn.spans.iter().find(|(_, from, wide)| (*from..=from + wide).contains(&x));
            let Some((column, ..)) = column else { return Wish::Nothing };
            let sort = self.sort();
            let tab = self.tab;
            self.choice().sort = if sort.column == *column {
                Sort { down: !sort.down, presses_first: false, ..sort }
            } else {
                Sort::by(tab, *column)
            };
            return Wish::Draw;
        }
        let Some(line) = y.checked_sub(first).filter(|line| *line < room) else { return Wish::Nothing };
        let at = drawn.top + usize::from(line);
        if at >= drawn.ids.len() {
            return Wish::Nothing;
        }
        let choice = self.choice();
        (choice.cursor, choice.top) = (Cursor::Line(at), drawn.top);
        Wish::Draw
    }
}
