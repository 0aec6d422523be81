//! Owns: what each click and turn of the wheel changes in what the user asked for.
//! Must not know: how anything is drawn, the terminal.

use ratatui::crossterm::event::{KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::cursor::Cursor;
use super::{Drawn, Mode, State, Wish};
use crate::present::tui::views::{Sort, columns};

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
        match &mut self.mode {
            Mode::Help(scrolled) | Mode::Details(_, scrolled) | Mode::Doctor(scrolled) => {
                *scrolled = (*scrolled).min(drawn.scroll_end).saturating_add_signed(by).min(drawn.scroll_end);
                Wish::Draw
            }
            Mode::Sorting(at) => {
                let last = columns(self.tab).len().saturating_sub(1);
                *at = at.saturating_add_signed(by.signum()).min(last);
                Wish::Draw
            }
            Mode::Table | Mode::Typing => self.move_by(by, drawn),
        }
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
