//! Screens of a known world, compared with what is in testdata.

mod keys;
mod replay;
mod terminal;
mod world;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use self::world::{busy, full, picture, quiet, two_namespaces};
use super::draw::{Ink, Paper, Theme};
use super::journal::Journal;
use super::state::{Drawn, Mode, State, Wish};
use super::views::Tab;
use crate::tracker::Tracker;

const INK: Ink = Ink { theme: Theme::Dark, has_unicode: true };
const SIZES: [(u16, u16); 2] = [(80, 24), (140, 40)];

/// A screen without a terminal.
struct Desk {
    world: Tracker,
    journal: Journal,
    state: State,
    drawn: Drawn,
    terminal: Terminal<TestBackend>,
}

impl Desk {
    fn new((world, journal): (Tracker, Journal), (width, height): (u16, u16)) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (state, drawn) = (State::new(INK), Drawn::default());
        let mut desk = Self { world, journal, state, drawn, terminal };
        desk.draw();
        desk
    }

    fn draw(&mut self) {
        let picture = picture(&self.world, &self.journal);
        let opened = match &self.state.mode {
            Mode::Details(id, _) => picture.open(id, &self.world),
            _ => None,
        };
        let paper = Paper { state: &self.state, picture: &picture, opened: opened.as_ref() };
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
        super::offscreen::text(self.terminal.backend())
    }
}

fn compare(name: &str, got: &str) {
    crate::live::fixture::compare(&format!("tui/testdata/{name}.txt"), got);
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
fn a_full_world_says_what_it_has_no_room_for() {
    for (width, height) in SIZES {
        let desk = Desk::new(full(), (width, height));
        let text = desk.text();
        let dropped = desk.world.dropped();
        assert!(dropped.events != 0 && dropped.sockets != 0, "{dropped:?}");
        let all = dropped.rows + dropped.events + dropped.sockets;
        assert!(
            text.lines().next().is_some_and(|line| line.ends_with(&format!(", no room {all}"))),
            "{text}"
        );
        compare(&format!("full-{width}"), &text);
    }
}

#[test]
fn the_fullest_namespace_is_named_where_there_are_several() {
    let text = Desk::new(two_namespaces(), (80, 24)).text();
    let want = "live     139, peak 139, slab 76.0 KiB, netns 4026531840: 138 of 1009 (14%)";
    assert_eq!(text.lines().nth(1), Some(want));
}

#[test]
fn a_terminal_without_colours_and_unicode_gets_neither() {
    let mut desk = Desk::new(busy(), (140, 40));
    desk.state.ink = Ink { theme: Theme::Mono, has_unicode: false };
    for (at, key) in "12345678?".chars().enumerate() {
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
    assert!(desk.terminal.backend().buffer().content.iter().any(|cell| cell.fg == Color::LightRed));
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
