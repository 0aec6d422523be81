//! Screens of a known state, compared with what is in testdata.

mod keys;
mod quiet;
mod replay;
mod samples;
mod situations;
mod terminal;
mod verdict;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use self::samples::{busy, full, picture, quiet, two_namespaces};
use super::draw::{Paper, wanted};
use super::journal::Journal;
use super::palette::Palette;
use super::palette::Theme;
use super::state::{Drawn, Mode, State, Wish};
use super::views::Tab;
use crate::engine::Tracker;
use crate::model::settings::Settings;

const PALETTE: Palette = Palette { theme: Theme::Dark, has_unicode: true };
const SIZES: [(u16, u16); 2] = [(80, 24), (140, 40)];

/// A screen without a terminal.
struct Screen {
    tracker: Tracker,
    journal: Journal,
    state: State,
    drawn: Drawn,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new((tracker, journal): (Tracker, Journal), (width, height): (u16, u16)) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (state, drawn) = (State::new(PALETTE), Drawn::default());
        let mut screen = Self { tracker, journal, state, drawn, terminal };
        screen.draw();
        screen
    }

    fn draw(&mut self) {
        let picture = picture(&self.tracker, self.state.fold, &self.journal);
        let area = self.terminal.get_frame().area();
        let opened = wanted(&self.state, area, &self.drawn).and_then(|id| picture.open(&id, &self.tracker));
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
    crate::present::live::fixture::compare(&format!("present/tui/testdata/{name}.txt"), got);
}

#[test]
fn every_view_at_both_sizes() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(busy(), (width, height));
        for (at, tab) in Tab::ALL.into_iter().enumerate() {
            screen.press(KeyCode::Char(char::from(b'1' + at as u8)));
            assert_eq!(screen.state.tab, tab);
            compare(&format!("{}-{width}", tab.name().to_lowercase()), &screen.text());
        }
    }
}

#[test]
fn help_and_details_at_both_sizes() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(busy(), (width, height));
        screen.press(KeyCode::Char('?'));
        compare(&format!("help-{width}"), &screen.text());
        screen.press(KeyCode::Esc);
        screen.press(KeyCode::Enter);
        compare(&format!("details-{width}"), &screen.text());
    }
}

#[test]
fn nothing_traced_yet() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(quiet(), (width, height));
        compare(&format!("empty-{width}"), &screen.text());
        for key in [KeyCode::Down, KeyCode::End, KeyCode::Enter, KeyCode::Right, KeyCode::Char('r')] {
            screen.press(key);
            assert_eq!(screen.state.mode, Mode::Table, "there is no row to open");
        }
    }
}

#[test]
fn a_full_tracker_says_what_it_has_no_room_for() {
    for (width, height) in SIZES {
        let screen = Screen::new(full(), (width, height));
        let text = screen.text();
        let dropped = screen.tracker.dropped();
        assert!(dropped.events != 0 && dropped.sockets != 0, "{dropped:?}");
        let all = dropped.rows + dropped.events + dropped.sockets;
        assert!(
            text.lines()
                .any(|line| line.starts_with("twtrace ") && line.ends_with(&format!(", no room {all}"))),
            "{text}"
        );
        compare(&format!("full-{width}"), &text);
    }
}

#[test]
fn the_fullest_namespace_is_named_where_there_are_several() {
    let text = Screen::new(two_namespaces(), (80, 24)).text();
    let want = "live     139, peak 139, slab 76.0 KiB, netns 4026531840: 138 of 1009 (14%)";
    assert!(text.lines().any(|line| line == want), "{text}");
}

#[test]
fn namespaces_go_by_their_names() {
    let (mut tracker, journal) = two_namespaces();
    let capacity = |name: &str| crate::engine::Capacity {
        name: Some(name.to_owned()),
        settings: Settings { max_tw_buckets: Some(1_009), ..Settings::of_range(40_000, 40_099) },
    };
    tracker.set_capacity(crate::present::live::fixture::NETNS, capacity("host"));
    tracker.set_capacity(crate::present::live::fixture::NETNS + 1, capacity("he\x1b1"));
    let mut screen = Screen::new((tracker, journal), (140, 40));
    assert!(screen.text().contains(", netns host: 138 of 1009"), "{}", screen.text());
    screen.press(KeyCode::Char('8'));
    let text = screen.text();
    assert!(text.contains(r" he\x1b1 ") && text.contains(" host "), "{text}");
    screen.press(KeyCode::Enter);
    assert!(screen.text().contains("Network namespace 4026531840 (host)"), "{}", screen.text());
}

#[test]
fn a_terminal_without_colours_and_unicode_gets_neither() {
    let mut screen = Screen::new(busy(), (140, 40));
    screen.state.palette = Palette { theme: Theme::Mono, has_unicode: false };
    for (at, key) in "12345678?".chars().enumerate() {
        screen.press(KeyCode::Char(key));
        let text = screen.text();
        assert!(text.is_ascii(), "{text}");
        if at == 0 {
            compare("ascii-140", &text);
        }
        let cells = &screen.terminal.backend().buffer().content;
        assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    }
}

#[test]
fn colours_are_there_where_they_are_wanted() {
    let screen = Screen::new(busy(), (80, 24));
    assert!(screen.terminal.backend().buffer().content.iter().any(|cell| cell.fg == Color::LightRed));
}

#[test]
fn nothing_from_a_stranger_acts_on_the_terminal() {
    let mut screen = Screen::new(busy(), (140, 40));
    for key in
        "/evil\n\n".chars().map(|typed| if typed == '\n' { KeyCode::Enter } else { KeyCode::Char(typed) })
    {
        screen.press(key);
        let text = screen.text();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
    assert!(
        screen.text().contains(r" Process 101/\x1b[2J"),
        "the hostile process was not opened:\n{}",
        screen.text()
    );
}

#[test]
fn every_size_can_be_drawn() {
    let mut screen = Screen::new(busy(), (80, 24));
    for width in [1, 9, 10, 11, 40, 79, 81, 300] {
        for height in [1, 3, 4, 5, 11, 12, 100] {
            screen.terminal.backend_mut().resize(width, height);
            for key in [KeyCode::Char('?'), KeyCode::Esc, KeyCode::Enter, KeyCode::End, KeyCode::Tab] {
                screen.press(key);
                assert_eq!(screen.text().lines().count(), usize::from(height));
            }
        }
    }
}
