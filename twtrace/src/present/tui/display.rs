//! Owns: what the screen shows and what the user asked of it, together: the last picture, the line that is open,
//! the journal.
//! Must not know: the terminal, when a picture is due.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event as Input, KeyEventKind};
use ratatui::layout::Rect;

use super::draw::{Paper, wanted};
use super::journal::Journal;
use super::palette::Palette;
use super::state::{Drawn, Mode, State, Wish};
use super::views::{Column, Folded, Id, Opened, Picture, Sort, Tab, ViewRow, What, shown};
use crate::diagnose::OneLine;
use crate::engine::{By, Extent, RowKey, Survey, Tracker};
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
    /// See [`Frame::recorded`].
    pub(super) recorded: Option<String>,
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
        let About { backend, slab_bytes, clock, zone, limitations, filters, recorded } = about;
        let survey = tracker.survey();
        let extent = self.wanted();
        let snapshot = tracker.snapshot_of(&survey, tables, extent);
        let frame = Frame { snapshot, backend, slab_bytes, clock, limitations, recorded };
        let journal = shows_journal.then(|| self.journal.clone());
        let by = self.state.fold;
        let shows_processes = self.state.is_paused || self.state.tab == Tab::Processes;
        let folded = shows_processes.then(|| Folded { by, rows: tracker.folded(&survey, by) });
        let mut picture = Picture::new(frame, (tables, extent), folded, journal, zone, filters);
        // The rows that will be seen are known now: they are made with the same look at all groups, and drawn once.
        let state = &self.state;
        let rows = shown(state.tab, &picture, state.sort(), &state.filter, &state.unfolded);
        self.drawn.ids = rows.iter().map(ViewRow::id).collect();
        picture.whole = tracker.rows_named_of(&survey, &self.missing(&picture));
        self.picture = Some(picture);
        self.renew_opened(tracker, &survey);
    }

    /// Whose details are shown is renewed where it is a row: that changes, and the selected line may be another one now. An event stays what
    /// it was.
    fn renew_opened(&mut self, tracker: &Tracker, survey: &Survey<'_>) {
        let Some((known, _)) = &self.opened else { return };
        let now = match &self.state.mode {
            Mode::Details(id, _) => Some(id),
            _ => self.state.selected(&self.drawn.ids).map(|at| &self.drawn.ids[at]),
        };
        match now {
            Some(Id::Row(key)) => {
                let detail = tracker.detail_of(survey, key).map(|detail| Opened::Row(Box::new(detail)));
                self.opened = Some((Id::Row(key.clone()), detail));
            }
            now if now != Some(known) => self.opened = None,
            _ => {}
        }
    }

    /// Whether the picture lacks what is looked at, or will be while it stands still.
    pub(super) fn is_stale(&self) -> bool {
        let Some(picture) = &self.picture else { return true };
        if !picture.extent.holds(self.wanted()) {
            return true;
        }
        let wanted = if self.state.is_paused { &Tab::ALL[..] } else { &[self.state.tab] };
        let is_folded_so = picture.folded.as_ref().is_none_or(|folded| folded.by == self.state.fold);
        !is_folded_so || !wanted.iter().all(|tab| picture.has(*tab))
    }

    /// Draws the picture; nothing before there is one.
    pub(super) fn draw(&mut self, tracker: &Tracker, area: Rect, buffer: &mut Buffer) {
        self.open(tracker, area);
        self.put(area, buffer);
        // Which line is selected, whether there is room for its details, and which rows are seen, is known once it is drawn.
        let (is_other, is_more) = (self.open(tracker, area), self.complete(tracker));
        if is_other || is_more {
            buffer.reset();
            self.put(area, buffer);
        }
    }

    /// What every row must say: what rows are sorted or found by, and everything where any may be looked at while the picture stands still.
    fn wanted(&self) -> Extent {
        let (state, columns) = (&self.state, self.state.columns());
        if state.is_paused {
            return Extent::WHOLE;
        }
        let sorted = columns.get(state.sort().column).map(|column| column.what);
        // Figures are sorted by and not searched.
        let has = |is_such: fn(What) -> bool| {
            let is_searched = |column: &Column| !column.is_figure && is_such(column.what);
            sorted.is_some_and(is_such) || !state.filter.is_empty() && columns.iter().any(is_searched)
        };
        Extent {
            percentiles: has(What::is_percentile),
            rates: has(What::is_rate),
            links: has(What::is_of_link),
            identities: has(What::is_identity),
            bare: state.filter.is_empty() && sorted == Some(Sort::usual(state.tab)),
            ..Extent::SCREEN
        }
    }

    /// The rows drawn last that a picture does not have whole.
    fn missing(&self, picture: &Picture) -> Vec<RowKey> {
        if picture.extent == Extent::WHOLE {
            return Vec::new();
        }
        let drawn = &self.drawn;
        let seen = drawn.ids.iter().skip(drawn.top).take(drawn.body.1.into());
        let keys = seen.filter_map(|id| if let Id::Row(key) = id { Some(key) } else { None });
        keys.filter(|key| !picture.whole.contains_key(key)).cloned().collect()
    }

    /// Makes the rows that are seen whole; whether any was not.
    fn complete(&mut self, tracker: &Tracker) -> bool {
        let Some(picture) = &self.picture else { return false };
        let more = tracker.rows_named(&self.missing(picture));
        let is_more = !more.is_empty();
        if let Some(picture) = &mut self.picture {
            picture.whole.extend(more);
        }
        is_more
    }

    /// Makes the details that are to be drawn; whether they are others than before.
    fn open(&mut self, tracker: &Tracker, area: Rect) -> bool {
        let Some(picture) = &self.picture else { return false };
        let wanted = wanted(&self.state, area, &self.drawn);
        let is_other = self.opened.as_ref().map(|(known, _)| known) != wanted.as_ref();
        if is_other {
            self.opened = wanted.map(|id| {
                let opened = picture.open(&id, tracker);
                (id, opened)
            });
        }
        is_other
    }

    fn put(&mut self, area: Rect, buffer: &mut Buffer) {
        let Some(picture) = &self.picture else { return };
        let opened = self.opened.as_ref().and_then(|(_, opened)| opened.as_ref());
        self.drawn = Paper { state: &self.state, picture, opened }.draw(area, buffer);
    }

    /// The selected line as text, every column of it; `None` where there is none.
    pub(super) fn selected(&mut self, tracker: &Tracker) -> Option<String> {
        let key = self.state.selected(&self.drawn.ids).map(|at| &self.drawn.ids[at]);
        if let (Some(Id::Row(key)), Some(picture)) = (key, &mut self.picture)
            && picture.extent != Extent::WHOLE
        {
            picture.whole.extend(tracker.rows_named(std::slice::from_ref(key)));
        }
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
