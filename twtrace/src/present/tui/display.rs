//! Owns: what the screen shows and what the user asked of it, together: the last picture, the line that is open,
//! the journal.
//! Must not know: the terminal, when a picture is due.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event as Input, KeyEventKind};
use ratatui::layout::Rect;

use super::draw::{Palette, Paper, wanted};
use super::journal::Journal;
use super::state::{Drawn, State, Wish};
use super::views::{Folded, Id, Opened, Picture, Tab, shown};
use crate::diagnose::OneLine;
use crate::engine::{By, Extent, Tracker};
use crate::model::clock::Clock;
use crate::model::limitation::Limitation;
use crate::present::live::Frame;

/// What a picture says that the tracker does not know.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// See [`Frame::backend`].
    pub(super) backend: &'static str,
    /// See [`Frame::slab_bytes`].
    pub(super) slab_bytes: Option<u64>,
    /// See [`Frame::clock`].
    pub(super) clock: Clock,
    /// Whose time of day is shown.
    pub(super) zone: jiff::tz::TimeZone,
    /// See [`Frame::limitations`].
    pub(super) limitations: Vec<Limitation>,
    /// The filters that leave something out, as flags.
    pub(super) filters: Vec<String>,
}

/// The screen without its terminal.
#[derive(Debug)]
pub(super) struct Display {
    pub(super) state: State,
    pub(super) drawn: Drawn,
    pub(super) journal: Journal,
    picture: Option<Picture>,
    opened: Option<(Id, Option<Opened>)>,
}

impl Display {
    pub(super) fn new(palette: Palette) -> Self {
        Self {
            state: State::new(palette),
            drawn: Drawn::default(),
            journal: Journal::default(),
            picture: None,
            opened: None,
        }
    }

    /// Takes a new picture: of what is looked at, or of everything where the picture is to stand still.
    pub(super) fn refresh(&mut self, tracker: &Tracker, about: About) {
        let tables = if self.state.is_paused { By::ALL } else { self.state.tab.tables() };
        let shows_journal = self.state.is_paused || self.state.tab.shows_journal();
        let About { backend, slab_bytes, clock, zone, limitations, filters } = about;
        let survey = tracker.survey();
        // While the picture stands still, every column of it may be looked at.
        let extent = if self.state.is_paused { Extent::Whole } else { Extent::Screen };
        let snapshot = tracker.snapshot_of(&survey, tables, extent);
        let frame = Frame { snapshot, backend, slab_bytes, clock, limitations };
        let journal = shows_journal.then(|| self.journal.clone());
        let by = self.state.fold;
        let shows_processes = self.state.is_paused || self.state.tab == Tab::Processes;
        let folded = shows_processes.then(|| Folded { by, rows: tracker.folded(&survey, by) });
        self.picture = Some(Picture::new(frame, tables, folded, journal, zone, filters));
        // A row changes; an event stays what it was.
        self.opened.take_if(|(id, _)| matches!(id, Id::Row(_)));
    }

    /// Whether the picture lacks what is looked at, or will be while it stands still.
    pub(super) fn is_stale(&self) -> bool {
        let Some(picture) = &self.picture else { return true };
        let wanted = if self.state.is_paused { &Tab::ALL[..] } else { &[self.state.tab] };
        let is_folded_so = picture.folded.as_ref().is_none_or(|folded| folded.by == self.state.fold);
        !is_folded_so || !wanted.iter().all(|tab| picture.has(*tab))
    }

    /// Draws the picture; nothing before there is one.
    pub(super) fn draw(&mut self, tracker: &Tracker, area: Rect, buffer: &mut Buffer) {
        let Some(picture) = &self.picture else { return };
        let wanted = wanted(&self.state, area, &self.drawn);
        if self.opened.as_ref().map(|(known, _)| known) != wanted.as_ref() {
            self.opened = wanted.map(|id| {
                let opened = picture.open(&id, tracker);
                (id, opened)
            });
        }
        let opened = self.opened.as_ref().and_then(|(_, opened)| opened.as_ref());
        self.drawn = Paper { state: &self.state, picture, opened }.draw(area, buffer);
    }

    /// The selected line as text, every column of it; `None` where there is none.
    pub(super) fn selected(&self) -> Option<String> {
        let (state, picture) = (&self.state, self.picture.as_ref()?);
        if state.is_on_verdict() {
            return picture.findings.first().map(|finding| OneLine::from(finding).short().to_owned());
        }
        let rows = shown(state.tab, picture, state.sort(), &state.filter, &state.unfolded);
        let row = rows.get(state.selected(&self.drawn.ids)?)?;
        let values = state.columns().into_iter().map(|column| row.value(column.what));
        let texts: Vec<String> = values.map(|value| value.text(usize::MAX).into_owned()).collect();
        Some(texts.join("  "))
    }

    /// Takes in what was typed or clicked.
    pub(super) fn hear(&mut self, input: &Input) -> Wish {
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.state.press(*key, &self.drawn),
            Input::Mouse(mouse) => self.state.click(*mouse, &self.drawn),
            Input::Resize(..) => Wish::Draw,
            _ => Wish::Nothing,
        }
    }
}
