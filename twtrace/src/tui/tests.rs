//! Screens of a known world, compared with what is in testdata. `TWTRACE_BLESS=1` writes them anew: then read the difference.

mod keys;
mod world;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use self::world::{busy, picture, quiet, two_namespaces};
use super::draw::{Ink, Paper};
use super::journal::Journal;
use super::state::{Drawn, Mode, State, Wish};
use super::views::Tab;
use crate::tracker::Tracker;

const INK: Ink = Ink { has_colours: true, has_unicode: true };
const SIZES: [(u16, u16); 2] = [(80, 24), (140, 40)];

/// A screen without a terminal.
struct Desk {
    world: Tracker,
    journal: Journal,
    state: State,
    drawn: Drawn,
    terminal: Terminal<TestBackend>,
    ink: Ink,
}

impl Desk {
    fn new((world, journal): (Tracker, Journal), (width, height): (u16, u16)) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (state, drawn) = (State::default(), Drawn::default());
        let mut desk = Self { world, journal, state, drawn, terminal, ink: INK };
        desk.draw();
        desk
    }

    fn draw(&mut self) {
        let picture = picture(&self.world, &self.journal);
        let detail = match &self.state.mode {
            Mode::Details(key, _) => self.world.detail(key),
            _ => None,
        };
        let paper = Paper { state: &self.state, picture: &picture, detail: detail.as_ref(), ink: self.ink };
        self.terminal.draw(|frame| self.drawn = paper.draw(frame.area(), frame.buffer_mut())).unwrap();
    }

    fn press(&mut self, code: KeyCode) -> Wish {
        let wish = self.state.press(KeyEvent::new(code, KeyModifiers::NONE), &self.drawn);
        self.draw();
        wish
    }

    fn type_in(&mut self, text: &str) {
        for typed in text.chars() {
            self.press(KeyCode::Char(typed));
        }
    }

    fn text(&self) -> String {
        let buffer = self.terminal.backend().buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let (mut line, mut hidden) = (String::new(), 0);
            for x in 0..buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                // The second half of a wide character is a cell of its own.
                if hidden > 0 {
                    hidden -= 1;
                    continue;
                }
                hidden = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn compare(name: &str, got: &str) {
    let path = format!("{}/src/tui/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TWTRACE_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(got == want, "{name} was\n{want}\nand is\n{got}");
}

#[test]
fn every_view_at_both_sizes() {
    for (width, height) in SIZES {
        let mut desk = Desk::new(busy(), (width, height));
        for (at, tab) in Tab::ALL.into_iter().enumerate() {
            desk.press(KeyCode::Char(char::from(b'1' + at as u8)));
            assert_eq!(desk.state.tab, tab);
            compare(&format!("{}-{width}", tab.name().to_lowercase()), &desk.text());
        }
    }
}

#[test]
fn help_and_details_at_both_sizes() {
    for (width, height) in SIZES {
        let mut desk = Desk::new(busy(), (width, height));
        desk.press(KeyCode::Char('?'));
        compare(&format!("help-{width}"), &desk.text());
        desk.press(KeyCode::Esc);
        desk.press(KeyCode::Enter);
        compare(&format!("details-{width}"), &desk.text());
    }
}

#[test]
fn an_empty_world() {
    for (width, height) in SIZES {
        let mut desk = Desk::new(quiet(), (width, height));
        compare(&format!("empty-{width}"), &desk.text());
        for key in [KeyCode::Down, KeyCode::End, KeyCode::Enter, KeyCode::Right, KeyCode::Char('r')] {
            desk.press(key);
            assert_eq!(desk.state.mode, Mode::Table, "there is no row to open");
        }
    }
}

#[test]
fn the_fullest_namespace_is_named_where_there_are_several() {
    let text = Desk::new(two_namespaces(), (80, 24)).text();
    let want = "live     127, peak 127, slab 76.0 KiB, netns 4026531840: 126 of 1009 (12%)";
    assert_eq!(text.lines().nth(1), Some(want));
}

#[test]
fn a_terminal_without_colours_and_unicode_gets_neither() {
    let mut desk = Desk::new(busy(), (140, 40));
    desk.ink = Ink { has_colours: false, has_unicode: false };
    for (at, key) in "1234567?".chars().enumerate() {
        desk.press(KeyCode::Char(key));
        let text = desk.text();
        assert!(text.is_ascii(), "{text}");
        if at == 0 {
            compare("ascii-140", &text);
        }
        let cells = &desk.terminal.backend().buffer().content;
        assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    }
}

#[test]
fn colours_are_there_where_they_are_wanted() {
    let desk = Desk::new(busy(), (80, 24));
    assert!(desk.terminal.backend().buffer().content.iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn nothing_from_a_stranger_acts_on_the_terminal() {
    let mut desk = Desk::new(busy(), (140, 40));
    for key in
        "/evil\n\n".chars().map(|typed| if typed == '\n' { KeyCode::Enter } else { KeyCode::Char(typed) })
    {
        desk.press(key);
        let text = desk.text();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
    assert!(
        desk.text().contains(r" Process 101/\x1b[2J"),
        "the hostile process was not opened:\n{}",
        desk.text()
    );
}

#[test]
fn every_size_can_be_drawn() {
    let mut desk = Desk::new(busy(), (80, 24));
    for width in [1, 9, 10, 11, 40, 79, 81, 300] {
        for height in [1, 3, 4, 5, 11, 12, 100] {
            desk.terminal.backend_mut().resize(width, height);
            for key in [KeyCode::Char('?'), KeyCode::Esc, KeyCode::Enter, KeyCode::End, KeyCode::Tab] {
                desk.press(key);
                assert_eq!(desk.text().lines().count(), usize::from(height));
            }
        }
    }
}
