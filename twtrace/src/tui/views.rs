//! Owns: what each view is: its columns, and its rows from a picture of the world.
//! Must not know: the terminal, which row is selected.

mod columns;
mod rows;

pub(super) use columns::{Column, columns, fitting};
pub(super) use rows::alarm;
use rows::rows;

use super::journal::Journal;
use super::value::Value;
use crate::event::Kind;
use crate::live::Frame;
use crate::tracker::RowKey;

/// The views, in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Processes,
    Tuples,
    Peers,
    Ports,
    Containers,
    Failures,
    Events,
}

impl Tab {
    pub(super) const ALL: [Self; 7] = [
        Self::Processes,
        Self::Tuples,
        Self::Peers,
        Self::Ports,
        Self::Containers,
        Self::Failures,
        Self::Events,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Tuples => "Tuples",
            Self::Peers => "Peers",
            Self::Ports => "Ports",
            Self::Containers => "Containers",
            Self::Failures => "Failures",
            Self::Events => "Events",
        }
    }
}

/// Everything that the screen shows, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) frame: Frame,
    pub(super) journal: Journal,
    /// Whose time of day is shown.
    pub(super) zone: jiff::tz::TimeZone,
}

/// Names a line of a table for as long as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Row(RowKey),
    /// By its number in the journal.
    Event(u64),
}

/// How much a line wants to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    None,
    Warning,
    Critical,
}

/// A line of a table: a value for each of the view's columns.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) id: Id,
    pub(super) alarm: Alarm,
    pub(super) values: Vec<Value>,
}

impl Line {
    /// Whether any of it holds `text`, whatever the case.
    pub(super) fn holds(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.values.iter().any(|value| value.text(usize::MAX).to_lowercase().contains(&text))
    }
}

/// The lines of a view that are to be shown, in their order.
pub(super) fn shown(tab: Tab, picture: &Picture, sort: Sort, filter: &str) -> Vec<Line> {
    let mut lines = rows(tab, picture);
    if !filter.is_empty() {
        lines.retain(|line| line.holds(filter));
    }
    let Sort { column, down } = sort;
    lines.sort_by(|one, two| {
        // What is not known stands at the end, both ways.
        let (one, two) = (&one.values[column], &two.values[column]);
        let unknown = (*one == Value::Nothing).cmp(&(*two == Value::Nothing));
        let order = one.order(two);
        unknown.then(if down { order.reverse() } else { order })
    });
    lines
}

/// What a view is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    /// Index into the view's columns.
    pub(super) column: usize,
    /// The largest comes first.
    pub(super) down: bool,
}

impl Sort {
    /// As a view is ordered until the user says otherwise.
    pub(super) fn of(tab: Tab) -> Self {
        let wanted = match tab {
            Tab::Tuples => "USED",
            Tab::Failures | Tab::Events => "TIME",
            _ => "LIVE",
        };
        let column = columns(tab).iter().position(|column| column.title == wanted).unwrap_or(0);
        Self { column, down: true }
    }

    /// A column, the way round that one mostly wants it.
    pub(super) fn by(tab: Tab, column: usize) -> Self {
        Self { column, down: columns(tab)[column].is_largest_first }
    }
}

pub(super) fn alarm_of(kind: Kind) -> Alarm {
    match kind {
        Kind::Created | Kind::Ended => Alarm::None,
        Kind::Overflow | Kind::Lost => Alarm::Warning,
        Kind::ConnectFailed | Kind::BindFailed => Alarm::Critical,
    }
}
