//! Owns: the screen without a terminal, for measurements and tests.
//! Must not know: when a picture is due.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};

use super::display::{About, Display};
use super::palette::Palette;
use super::palette::Theme;
use crate::engine::Tracker;
use crate::model::clock::Clock;
use crate::model::event::Event;

/// A screen that is drawn into memory.
#[derive(Debug)]
pub struct Offscreen {
    display: Display,
    terminal: Terminal<TestBackend>,
}

impl Offscreen {
    /// So many columns and lines, with colours and Unicode.
    pub fn new(width: u16, height: u16) -> Self {
        let Ok(terminal) = Terminal::new(TestBackend::new(width, height));
        Self { display: Display::new(Palette { theme: Theme::Dark, has_unicode: true }), terminal }
    }

    /// Takes in an event for the views that list them.
    pub fn note(&mut self, event: &Event) {
        self.display.journal.note(event);
    }

    /// Takes a picture of the present state, and draws it.
    pub fn frame(&mut self, tracker: &Tracker) {
        let clock = Clock { mono_ns: 0, wall_ns: 0 };
        let zone = jiff::tz::TimeZone::UTC;
        let (limitations, filters, recorded) = (Vec::new(), Vec::new(), None);
        let about = About { backend: "", slab_bytes: None, clock, zone, limitations, filters, recorded };
        self.display.refresh(tracker, about);
        self.redraw(tracker);
    }

    /// Presses a key that stands for itself, and draws.
    pub fn press(&mut self, tracker: &Tracker, key: char) {
        self.strike(tracker, KeyCode::Char(key));
    }

    /// Opens what is selected, and draws.
    pub fn enter(&mut self, tracker: &Tracker) {
        self.strike(tracker, KeyCode::Enter);
    }

    fn strike(&mut self, tracker: &Tracker, key: KeyCode) {
        self.display.hear(&Input::Key(KeyEvent::new(key, KeyModifiers::NONE)));
        if self.display.is_stale() { self.frame(tracker) } else { self.redraw(tracker) }
    }

    fn redraw(&mut self, tracker: &Tracker) {
        let Ok(_) = self.terminal.draw(|frame| self.display.draw(tracker, frame.area(), frame.buffer_mut()));
    }

    /// What is on it, line by line.
    pub fn text(&self) -> String {
        text(self.terminal.backend())
    }
}

/// What is on a screen in memory, line by line.
pub(super) fn text(backend: &TestBackend) -> String {
    let buffer = backend.buffer();
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
