//! Owns: what connections of some rows were like, worked out for those alone: percentiles take most of the time of a snapshot, and a
//! screen shows those of a few rows.
//! Must not know: which rows are shown.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::engine::Tracker;
use crate::engine::groups::{Group, Table};
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::keys::RowKey;
use crate::engine::spread::{Percentiles, percentiles_of};

/// What the connections of a row were like: what [`Figures`] has only in a snapshot of [`Extent::Whole`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long connections lived, in microseconds.
    pub age_us: Option<Percentiles>,
    /// Payload sent a connection, in bytes.
    pub sent: Option<Percentiles>,
    /// Payload received a connection, in bytes.
    pub received: Option<Percentiles>,
}

impl From<&Figures> for Measured {
    fn from(figures: &Figures) -> Self {
        Self { age_us: figures.age_us, sent: figures.sent, received: figures.received }
    }
}

impl Tracker {
    /// What the connections of these rows were like; a row that does not exist is left out.
    pub fn measured(&self, keys: &[RowKey]) -> HashMap<RowKey, Measured> {
        let rows = self.rows_named(keys);
        let mut groups: HashMap<(Table, u32), Vec<&Group>, Hasher> = HashMap::default();
        rows.values().for_each(|row| _ = groups.insert(*row, Vec::new()));
        let tables: HashSet<Table> = groups.keys().map(|(table, _)| *table).collect();
        for (_, group) in self.engine.all() {
            for table in &tables {
                let row = group.row(*table).map(|row| (*table, row));
                if let Some(groups) = row.and_then(|row| groups.get_mut(&row)) {
                    groups.push(group);
                }
            }
        }
        let measured = |row: &(Table, u32)| {
            let of = groups.get(row).map(Vec::as_slice).unwrap_or_default();
            Measured {
                age_us: percentiles_of(of.iter().map(|group| &group.age_us)),
                sent: percentiles_of(of.iter().map(|group| &group.sent)),
                received: percentiles_of(of.iter().map(|group| &group.received)),
            }
        };
        rows.iter().map(|(key, row)| ((*key).clone(), measured(row))).collect()
    }

    /// The tables and the numbers of rows. Processes have no index: all of them are looked for at once.
    fn rows_named<'a>(&self, keys: &'a [RowKey]) -> HashMap<&'a RowKey, (Table, u32)> {
        let engine = &self.engine;
        let mut found: HashMap<&RowKey, (Table, u32)> = HashMap::new();
        let mut processes: HashMap<u32, Vec<&RowKey>, Hasher> = HashMap::default();
        for key in keys {
            match key {
                RowKey::Process(process) => processes.entry(process.pid).or_default().push(key),
                _ => found.extend(self.row_named(key).map(|row| (key, row))),
            }
        }
        for (at, row) in (0..).zip(&engine.groups.rows) {
            let RowId::Process { pid, .. } = row.id else { continue };
            let Some(keys) = processes.get(&pid) else { continue };
            let Some(process) = engine.process_key(at) else { continue };
            let key = keys.iter().find(|key| **key == &RowKey::Process(process));
            found.extend(key.map(|key| (*key, (Table::Process, at))));
        }
        found
    }
}
