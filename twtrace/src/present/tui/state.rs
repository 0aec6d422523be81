//! Owns: what the user asked for, and what each key and click changes in it.
//! Must not know: how anything is drawn, the terminal.

mod cursor;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use std::time::Duration;

use self::cursor::{Cursor, lines};
use super::palette::Palette;
use super::views::{Column, Id, Sort, Tab, columns};
use crate::engine::Fold;
use crate::source::replay::{Command, Replaying};

const SECOND_NS: i64 = 1_000_000_000;
/// The key for the next event.
const STEP: char = '.';

/// What a key asks of a replay.
fn command(key: char) -> Option<Command> {
    Some(match key {
        STEP => Command::Step,
        ']' => Command::Seek(10 * SECOND_NS),
        '[' => Command::Seek(-10 * SECOND_NS),
        '}' => Command::Seek(60 * SECOND_NS),
        '{' => Command::Seek(-60 * SECOND_NS),
        '0' => Command::Start,
        '+' => Command::Faster,
        '-' => Command::Slower,
        _ => return None,
    })
}

/// What lies over the table, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The table itself.
    Table,
    /// The table, while a filter is being typed.
    Typing,
    /// Every key. Scrolled by so many lines.
    Help(usize),
    /// One row or event. Scrolled by so many lines.
    Details(Id, usize),
    /// What the doctor makes of it. Scrolled by so many lines.
    Doctor(usize),
    /// The columns of the view, one of them selected, to be sorted by.
    Sorting(usize),
}

/// What is wanted of who drives the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Draw,
    /// The whole screen, whatever it shows now.
    Repaint,
    Quit,
    /// The selected line into the clipboard.
    Copy,
    /// Pictures more often, or less.
    Interval {
        /// More often.
        is_shorter: bool,
    },
    /// Of who feeds the screen from a recording.
    Replay(Command),
}

/// What was drawn last, as far as keys and clicks refer to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawn {
    /// All lines of the table, in their order.
    pub(super) ids: Vec<Id>,
    /// The first of them on the screen.
    pub(super) top: usize,
    /// Lines of the table's room that its rows leave blank.
    pub(super) spare: u16,
    /// Screen line of the table's first line, and how many there is room for.
    pub(super) body: (u16, u16),
    /// Columns on the screen: index, place from the left, width.
    pub(super) spans: Vec<(usize, u16, u16)>,
    /// Names of views on the screen: first column, first column after it.
    pub(super) tabs: Vec<(u16, u16)>,
    /// The last line, and where on it the keys are named that a click may press.
    pub(super) foot: (u16, Vec<(u16, u16, KeyCode)>),
    /// How many of the first lines are findings.
    pub(super) findings: u16,
    /// The furthest that what lies over the table can be scrolled.
    pub(super) scroll_end: usize,
}

/// What the user asked for in one view.
#[derive(Clone, Debug)]
struct Choice {
    sort: Sort,
    cursor: Cursor,
    /// First line on the screen.
    top: usize,
}

/// What the user asked for.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) tab: Tab,
    pub(super) mode: Mode,
    pub(super) filter: String,
    /// How processes are folded, and which rows have what they stand for behind them.
    pub(super) fold: Fold,
    pub(super) unfolded: Vec<Id>,
    pub(super) is_paused: bool,
    /// The user did not ask for that: events stand still while one looks at those that are alike.
    is_held: bool,
    /// How often there is a new picture, where the user has changed that.
    pub(super) every: Option<Duration>,
    /// How a replay goes; `None` where it is this machine's, now.
    pub(super) replay: Option<Replaying>,
    /// What the terminal can show, and the colours that the user picked.
    pub(super) palette: Palette,
    choices: [Choice; Tab::ALL.len()],
}

impl State {
    pub(super) fn new(palette: Palette) -> Self {
        let choices = Tab::ALL.map(|tab| Choice { sort: Sort::of(tab), cursor: Cursor::Line(0), top: 0 });
        Self {
            tab: Tab::Processes,
            mode: Mode::Table,
            filter: String::new(),
            fold: Fold::default(),
            unfolded: Vec::new(),
            is_paused: false,
            is_held: false,
            every: None,
            replay: None,
            palette,
            choices,
        }
    }

    pub(super) fn sort(&self) -> Sort {
        self.choices[self.tab as usize].sort
    }

    /// The first line on the screen, so that the selected one is on it. `room` is how many there is room for.
    pub(super) fn top(&self, selected: usize, lines: usize, room: usize) -> usize {
        let top = self.choices[self.tab as usize].top;
        let lowest = (selected + 1).saturating_sub(room);
        top.clamp(lowest, selected.max(lowest)).min(lines.saturating_sub(room))
    }

    fn choice(&mut self) -> &mut Choice {
        &mut self.choices[self.tab as usize]
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent, drawn: &Drawn) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Wish::Quit,
                KeyCode::Char('l') => Wish::Repaint,
                KeyCode::Char('u') if self.mode == Mode::Typing => {
                    self.filter.clear();
                    Wish::Draw
                }
                _ => Wish::Nothing,
            };
        }
        match self.mode {
            Mode::Typing => self.type_filter(key.code, drawn),
            Mode::Help(_) | Mode::Details(..) | Mode::Doctor(_) => self.press_over(key.code, drawn),
            Mode::Sorting(at) => self.press_sorting(at, key.code, drawn),
            Mode::Table => self.press_table(key.code, drawn),
        }
    }

    fn type_filter(&mut self, key: KeyCode, drawn: &Drawn) -> Wish {
        match key {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(typed) => self.filter.push(typed),
            other => return self.set(other, drawn),
        }
        Wish::Draw
    }

    fn press_over(&mut self, key: KeyCode, drawn: &Drawn) -> Wish {
        self.mode = match (key, &self.mode) {
            (KeyCode::Char('q') | KeyCode::Esc | KeyCode::Enter | KeyCode::F(10), _)
            | (KeyCode::Char('d'), Mode::Doctor(_))
            | (KeyCode::Char('?') | KeyCode::F(1), Mode::Help(_)) => Mode::Table,
            (KeyCode::Char('d'), _) => Mode::Doctor(0),
            (KeyCode::Char('?') | KeyCode::F(1), _) => Mode::Help(0),
            (other, _) => return self.set(other, drawn),
        };
        Wish::Draw
    }

    fn press_table(&mut self, key: KeyCode, drawn: &Drawn) -> Wish {
        match key {
            KeyCode::Char('q') | KeyCode::F(10) => return Wish::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => self.mode = Mode::Help(0),
            KeyCode::Char('d') => self.mode = Mode::Doctor(0),
            KeyCode::Char('/') | KeyCode::F(3 | 4) => self.mode = Mode::Typing,
            KeyCode::Char('y') => return Wish::Copy,
            KeyCode::Char('f') | KeyCode::F(5) => self.fold(),
            KeyCode::Char('F') => self.follow(drawn),
            KeyCode::Char('s') | KeyCode::F(6) => self.mode = Mode::Sorting(self.sort().column),
            KeyCode::Esc => self.take_back(drawn),
            KeyCode::Char('r') => self.choice().sort.down ^= true,
            KeyCode::Char('<') | KeyCode::Left => self.sort_beside(false, drawn),
            KeyCode::Char('>') | KeyCode::Right => self.sort_beside(true, drawn),
            KeyCode::Enter => return self.open(drawn),
            other => return self.set(other, drawn),
        }
        Wish::Draw
    }

    fn press_sorting(&mut self, at: usize, key: KeyCode, drawn: &Drawn) -> Wish {
        match key {
            KeyCode::Enter => self.choice().sort = Sort::by(self.tab, at),
            KeyCode::Esc | KeyCode::Char('q' | 's') | KeyCode::F(6 | 10) => {}
            other => return self.set(other, drawn),
        }
        self.mode = Mode::Table;
        Wish::Draw
    }

    /// What works whatever lies over the table.
    fn set(&mut self, key: KeyCode, drawn: &Drawn) -> Wish {
        if let Some(by) = lines(key, drawn) {
            return self.move_by(by, drawn);
        }
        match key {
            KeyCode::Char(' ') => (self.is_paused, self.is_held) = (!self.is_paused, false),
            KeyCode::Char('t') => self.palette.theme = self.palette.theme.next(),
            KeyCode::Char(key) if self.replay.is_some() && command(key).is_some() => {
                // One event after the other is of no use while time flies.
                if key == STEP {
                    (self.is_paused, self.is_held) = (true, false);
                }
                return command(key).map_or(Wish::Nothing, Wish::Replay);
            }
            KeyCode::Char(key @ ('+' | '-')) => return Wish::Interval { is_shorter: key == '-' },
            other => return self.switch(other),
        }
        Wish::Draw
    }

    /// To another view.
    fn switch(&mut self, key: KeyCode) -> Wish {
        let (at, all) = (self.tab as usize, Tab::ALL.len());
        let to = match key {
            KeyCode::Char(digit @ '1'..='8') => digit as usize - '1' as usize,
            KeyCode::Tab => (at + 1) % all,
            KeyCode::BackTab => (at + all - 1) % all,
            _ => return Wish::Nothing,
        };
        self.go(to)
    }

    fn go(&mut self, to: usize) -> Wish {
        self.tab = Tab::ALL[to];
        if self.mode != Mode::Typing {
            self.mode = Mode::Table;
        }
        Wish::Draw
    }

    fn sort_beside(&mut self, is_right: bool, drawn: &Drawn) {
        let shown: Vec<usize> = drawn.spans.iter().map(|(column, ..)| *column).collect();
        let Some(last) = shown.len().checked_sub(1) else { return };
        let at = shown.iter().position(|column| *column == self.sort().column).unwrap_or(0);
        let to = if is_right { (at + 1).min(last) } else { at.saturating_sub(1) };
        if to != at {
            self.choice().sort = Sort::by(self.tab, shown[to]);
        }
    }

    /// Folds processes into what comes next.
    fn fold(&mut self) {
        self.tab = Tab::Processes;
        self.unfolded.retain(|id| matches!(id, Id::Repeat(_)));
        self.fold = match self.fold {
            Fold::Gone => Fold::Program,
            Fold::Program => Fold::Unit,
            Fold::Unit => Fold::Container,
            Fold::Container => Fold::Pod,
            Fold::Pod => Fold::Netns,
            Fold::Netns => Fold::Gone,
        };
    }

    /// The details of the selected line, or its processes; of the verdict, the doctor's page.
    fn open(&mut self, drawn: &Drawn) -> Wish {
        if self.is_on_verdict() {
            self.mode = Mode::Doctor(0);
            return Wish::Draw;
        }
        let Some(id) = self.selected(&drawn.ids).map(|at| &drawn.ids[at]) else { return Wish::Nothing };
        if matches!(id, Id::Fold(_) | Id::Repeat(_)) {
            match self.unfolded.iter().position(|unfolded| unfolded == id) {
                Some(at) => self.close(at, &drawn.ids),
                None => self.unfold(id.clone()),
            }
            return Wish::Draw;
        }
        self.mode = Mode::Details(id.clone(), 0);
        Wish::Draw
    }

    fn unfold(&mut self, id: Id) {
        if matches!(id, Id::Repeat(_)) && !self.is_paused {
            (self.is_paused, self.is_held) = (true, true);
        }
        self.unfolded.push(id);
    }

    /// Closes one, of those among these lines: another that is seen still keeps the pause.
    fn close(&mut self, at: usize, ids: &[Id]) {
        let closed = self.unfolded.remove(at);
        let keeps = |id: &Id| matches!(id, Id::Repeat(_)) && ids.contains(id);
        if self.is_held && matches!(closed, Id::Repeat(_)) && !self.unfolded.iter().any(keeps) {
            (self.is_paused, self.is_held) = (false, false);
        }
    }

    /// Which of [`Self::unfolded`] was opened last, of those among these lines.
    pub(super) fn last_opened(&self, ids: &[Id]) -> Option<usize> {
        self.unfolded.iter().rposition(|unfolded| ids.contains(unfolded))
    }

    /// What Enter opened last goes first, then the filter.
    fn take_back(&mut self, drawn: &Drawn) {
        let Some(at) = self.last_opened(&drawn.ids) else { return self.filter.clear() };
        let line = drawn.ids.iter().position(|id| *id == self.unfolded[at]);
        if let Some(line) = line.filter(|_| !self.follows()) {
            self.choice().cursor = Cursor::Line(line);
        }
        self.close(at, &drawn.ids);
    }

    /// The columns of the view that is shown.
    pub(super) fn columns(&self) -> Vec<Column> {
        columns(self.tab)
    }
}
