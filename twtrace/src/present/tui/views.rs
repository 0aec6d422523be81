//! Owns: what each view is: its columns, and its rows from a picture.
//! Must not know: the terminal, which row is selected.

mod columns;
mod events;
mod names;
mod press;
mod rows;

pub(super) use columns::{Column, MARKS, What, columns, fitting};
use names::Names;
use press::Press;
pub(super) use press::alarm;
pub(super) use rows::ViewRow;
use rows::{members, rows};

use std::cell::OnceCell;
use std::collections::HashMap;

use super::journal::Journal;
use super::value::Value;
use crate::diagnose::examine;
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::engine::{AnyRow, By, Detail, Extent, Fold, FoldRow, ProcessKey, RowKey, Tracker};
use crate::model::escape::{printable, process_name};
use crate::model::event::{Event, Kind};
use crate::present::live::Frame;

/// The views, in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Processes,
    Tuples,
    Peers,
    Ports,
    Containers,
    Events,
    Failures,
    Netns,
}

impl Tab {
    pub(super) const ALL: [Self; 8] = [
        Self::Processes,
        Self::Tuples,
        Self::Peers,
        Self::Ports,
        Self::Containers,
        Self::Events,
        Self::Failures,
        Self::Netns,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Tuples => "Tuples",
            Self::Peers => "Peers",
            Self::Ports => "Ports",
            Self::Containers => "Containers",
            Self::Events => "Events",
            Self::Failures => "Failures",
            Self::Netns => "Netns",
        }
    }

    /// The tables of a snapshot that it needs: its own first, and in every view those that findings are made of, so that the head says
    /// the same above all of them.
    pub(super) fn tables(self) -> &'static [By] {
        match self {
            Self::Processes => &[By::Process, By::Tuple, By::Netns],
            Self::Peers => &[By::Peer, By::Tuple, By::Netns],
            Self::Ports => &[By::Port, By::Tuple, By::Netns],
            Self::Containers => &[By::Container, By::Tuple, By::Netns],
            Self::Netns => &[By::Netns, By::Tuple],
            Self::Tuples | Self::Events | Self::Failures => &[By::Tuple, By::Netns],
        }
    }

    /// It shows events, one by one.
    pub(super) fn shows_journal(self) -> bool {
        matches!(self, Self::Events | Self::Failures)
    }
}

/// Everything that the screen shows, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) frame: Frame,
    /// The tables that `frame` has.
    pub(super) tables: &'static [By],
    /// What every row of it says.
    pub(super) extent: Extent,
    /// Rows that were seen, with everything that there is to say of them.
    pub(super) whole: HashMap<RowKey, AnyRow>,
    /// What the doctor makes of `frame`: what it looked at, and what it found, worst first.
    pub(super) facts: Facts,
    pub(super) findings: Vec<Finding>,
    /// Of network namespaces, by inode, escaped.
    names: HashMap<u32, String>,
    /// Processes as they are folded; `None` where nobody looks at them.
    pub(super) folded: Option<Folded>,
    /// `None` where nobody looks at it.
    pub(super) journal: Option<Journal>,
    /// Whose time of day is shown.
    pub(super) zone: jiff::tz::TimeZone,
    /// The filters that leave something out, as flags.
    filters: Vec<String>,
    /// What the filter that is typed looks through, of each view.
    searched: [OnceCell<Names>; Tab::ALL.len()],
}

impl Picture {
    /// Of a frame that has these tables, so much of them.
    pub(super) fn new(
        frame: Frame,
        (tables, extent): (&'static [By], Extent),
        folded: Option<Folded>,
        journal: Option<Journal>,
        zone: jiff::tz::TimeZone,
        filters: Vec<String>,
    ) -> Self {
        let (facts, findings) = examine(&frame.snapshot, &frame.limitations, frame.replayed(&zone));
        let named = facts
            .namespaces
            .iter()
            .filter_map(|netns| Some((netns.netns, printable(netns.name.as_ref()?).into_owned())));
        let names = named.collect();
        Self {
            frame,
            tables,
            extent,
            whole: HashMap::new(),
            facts,
            findings,
            names,
            folded,
            journal,
            zone,
            filters,
            searched: Default::default(),
        }
    }

    /// What a network namespace is called, escaped; its inode where it has no name.
    pub(super) fn netns(&self, inode: u32) -> String {
        self.names.get(&inode).cloned().unwrap_or_else(|| inode.to_string())
    }

    /// What is looked at, as far as the user left anything out.
    pub(super) fn watched(&self) -> String {
        match self.filters.as_slice() {
            [] => "every netns".to_owned(),
            filters => format!("only {}", printable(&filters.join(" "))),
        }
    }

    /// Its inode, and its name, where it has one.
    pub(super) fn named_netns(&self, inode: u32) -> String {
        match self.names.get(&inode) {
            Some(name) => format!("{inode} ({name})"),
            None => inode.to_string(),
        }
    }

    /// Whether what a view shows is in it.
    pub(super) fn has(&self, tab: Tab) -> bool {
        (self.journal.is_some() || !tab.shows_journal())
            && (self.folded.is_some() || tab != Tab::Processes)
            // Only the first table has every column, unless there are all.
            && (self.tables.len() == By::ALL.len() || self.tables.first() == tab.tables().first())
            && tab.tables().iter().all(|by| self.tables.contains(by))
    }

    /// Everything about a line; `None` where it is gone.
    pub(super) fn open(&self, id: &Id, tracker: &Tracker) -> Option<Opened> {
        match id {
            Id::Fold(_) | Id::Repeat(_) => None,
            Id::Row(key) => tracker.detail(key).map(|detail| Opened::Row(Box::new(detail))),
            Id::Event(number) => {
                let journal = self.journal.as_ref()?;
                journal.find(*number).map(|event| Opened::Event(Box::new(event.clone())))
            }
        }
    }

    /// When an event happened, by the calendar.
    pub(super) fn time_of(&self, event: &Event) -> jiff::Zoned {
        self.time_at(event.mono_ns)
    }

    /// A moment of CLOCK_MONOTONIC, by the calendar.
    pub(super) fn time_at(&self, mono_ns: u64) -> jiff::Zoned {
        self.frame.clock.time(mono_ns).to_zoned(self.zone.clone())
    }
}

/// Everything about a line.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    Row(Box<Detail>),
    Event(Box<Event>),
}

/// Names a line of a table for as long as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Row(RowKey),
    /// Processes that are folded, by the name of what they are folded into.
    Fold(Option<String>),
    /// Events that are alike, by the number of the first.
    Repeat(u64),
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

/// How processes are folded, and the rows that come of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Folded {
    pub(super) by: Fold,
    pub(super) rows: Vec<FoldRow>,
}

/// The lines of a view that are to be shown, in their order; each that is `unfolded` with its processes behind it.
pub(super) fn shown<'a>(
    tab: Tab,
    picture: &'a Picture,
    sort: Sort,
    filter: &str,
    unfolded: &[Id],
) -> Vec<ViewRow<'a>> {
    let rows = ordered(tab, found(tab, picture, filter), sort);
    if unfolded.is_empty() {
        return rows;
    }
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push(row);
        if unfolded.contains(&row.id()) {
            all.extend(ordered(tab, members(&row), sort));
        }
    }
    all
}

/// The rows of a view in which any name holds `filter`.
fn found<'a>(tab: Tab, picture: &'a Picture, filter: &str) -> Vec<ViewRow<'a>> {
    let rows = rows(tab, picture);
    if filter.is_empty() {
        return rows;
    }
    let names = picture.searched[tab as usize].get_or_init(|| Names::of(&rows, &columns(tab)));
    names.holding(filter).into_iter().map(|at| rows[at]).collect()
}

fn ordered(tab: Tab, rows: Vec<ViewRow<'_>>, sort: Sort) -> Vec<ViewRow<'_>> {
    let columns = columns(tab);
    let Sort { column, down, presses_first } = sort;
    let press = |row: &ViewRow<'_>| if presses_first { row.press() } else { Press::default() };
    let mut rows: Vec<(Press, Value, ViewRow<'_>)> =
        rows.into_iter().map(|row| (press(&row), row.value(columns[column].what), row)).collect();
    rows.sort_by(|(first, one, _), (second, two, _)| {
        // What is not known stands at the end, both ways.
        let rank = one.rank().cmp(&two.rank());
        let order = one.order(two);
        second.cmp(first).then(rank).then(if down { order.reverse() } else { order })
    });
    rows.into_iter().map(|(.., row)| row).collect()
}

/// What a view is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    /// Index into the view's columns.
    pub(super) column: usize,
    /// The largest comes first.
    pub(super) down: bool,
    /// What presses comes before all: so it is until the user asks for a column.
    pub(super) presses_first: bool,
}

impl Sort {
    /// As a view is ordered until the user says otherwise.
    pub(super) fn of(tab: Tab) -> Self {
        let wanted = Self::usual(tab);
        let column = columns(tab).iter().position(|column| column.what == wanted).unwrap_or(0);
        Self { column, down: true, presses_first: !tab.shows_journal() }
    }

    /// The column that a view is ordered by until the user says otherwise.
    pub(super) fn usual(tab: Tab) -> What {
        match tab {
            Tab::Tuples => What::Used,
            Tab::Failures | Tab::Events => What::Time,
            _ => What::Live,
        }
    }

    /// A column, the way round that one mostly wants it.
    pub(super) fn by(tab: Tab, column: usize) -> Self {
        Self { column, down: columns(tab)[column].is_largest_first, presses_first: false }
    }
}

pub(super) fn alarm_of(kind: Kind) -> Alarm {
    match kind {
        Kind::Created | Kind::Ended | Kind::Listed => Alarm::None,
        Kind::Overflow | Kind::Aborted | Kind::SynRefused | Kind::Lost => Alarm::Warning,
        Kind::ConnectFailed | Kind::BindFailed => Alarm::Critical,
    }
}

/// A process, where there is one to name.
fn who(key: Option<ProcessKey>, what: What) -> Option<Value> {
    let key = key?;
    Some(match what {
        What::Pid if key.is_unknown() => return None,
        What::Pid => Value::Pid(key.pid),
        What::Process if key.is_unknown() => Value::Text("unknown".into()),
        What::Process => Value::Text(process_name(&key.comm.text()).into_owned().into()),
        _ => return None,
    })
}
