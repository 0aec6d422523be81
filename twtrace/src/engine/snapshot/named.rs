//! Owns: single rows by their names, whole: a snapshot of thousands leaves out what takes most of the time, and a screen shows a few.
//! Must not know: which rows are shown.

use std::collections::HashMap;

use super::make::Make;
use super::*;
use crate::engine::Tracker;
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::keys::RowKey;

/// A row of any table, as a snapshot of [`Extent::WHOLE`] has it.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyRow {
    /// A process.
    Process(Box<ProcessRow>),
    /// A pool of ports.
    Tuple(TupleRow),
    /// A remote address.
    Peer(PeerRow),
    /// A served port.
    Port(PortRow),
    /// A container.
    Container(ContainerRow),
    /// A network namespace.
    Netns(NetnsRow),
}

impl Tracker {
    /// These rows; one that does not exist is left out.
    pub fn rows_named(&self, keys: &[RowKey]) -> HashMap<RowKey, AnyRow> {
        if keys.is_empty() { HashMap::new() } else { self.rows_named_of(&self.survey(), keys) }
    }

    /// As [`Tracker::rows_named`], of a survey that was made.
    pub fn rows_named_of(&self, survey: &Survey<'_>, keys: &[RowKey]) -> HashMap<RowKey, AnyRow> {
        let numbers = self.numbers_of(keys);
        numbers.into_iter().map(|(key, row)| (key.clone(), self.any_row(survey, key, row))).collect()
    }

    fn any_row(&self, survey: &Survey<'_>, key: &RowKey, row: u32) -> AnyRow {
        let table = self.engine.groups.rows[row as usize].table;
        let make = Make { tracker: self, survey, table, extent: Extent::WHOLE };
        match key {
            RowKey::Process(key) => AnyRow::Process(Box::new(make.process(row, *key))),
            RowKey::Tuple(key) => AnyRow::Tuple(make.tuple(row, *key)),
            RowKey::Peer(key) => AnyRow::Peer(PeerRow { key: *key, figures: make.figures(row, true) }),
            RowKey::Port(key) => AnyRow::Port(make.port(row, *key)),
            RowKey::Container(key) => {
                AnyRow::Container(ContainerRow { key: key.clone(), figures: make.figures(row, true) })
            }
            RowKey::Netns(key) => AnyRow::Netns(make.netns(row, *key)),
        }
    }

    /// The numbers of rows. Processes have no index: all of them are looked for at once.
    fn numbers_of<'a>(&self, keys: &'a [RowKey]) -> Vec<(&'a RowKey, u32)> {
        let engine = &self.engine;
        let mut found: Vec<(&RowKey, u32)> = Vec::new();
        let mut processes: HashMap<u32, Vec<&RowKey>, Hasher> = HashMap::default();
        for key in keys {
            match key {
                RowKey::Process(process) => processes.entry(process.pid).or_default().push(key),
                _ => found.extend(self.row_named(key).map(|(_, row)| (key, row))),
            }
        }
        if processes.is_empty() {
            return found;
        }
        for (at, row) in (0..).zip(&engine.groups.rows) {
            let RowId::Process { pid, .. } = row.id else { continue };
            let Some(keys) = processes.get(&pid) else { continue };
            let Some(process) = engine.process_key(at) else { continue };
            let key = keys.iter().find(|key| **key == &RowKey::Process(process));
            found.extend(key.map(|key| (*key, at)));
        }
        found
    }
}
