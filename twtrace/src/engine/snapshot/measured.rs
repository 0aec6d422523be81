//! Owns: what connections of some rows were like, and what processes are, worked out for those rows alone: percentiles and identities
//! take most of the time of a snapshot, and a screen shows those of a few rows.
//! Must not know: which rows are shown.

use std::collections::HashMap;

use super::*;
use crate::engine::Tracker;
use crate::engine::history::Rates;
use crate::engine::intern::Hasher;
use crate::engine::key::RowId;
use crate::engine::keys::RowKey;
use crate::engine::spread::{Percentiles, percentiles_of};

/// What the connections of a row were like, and whose they were: what [`Figures`] and [`ProcessRow`] have only in a snapshot of [`Extent::WHOLE`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// What user space found out about it, of a process only.
    pub identity: Option<Arc<Identity>>,
    /// As [`ProcessRow::main`], of a process only.
    pub main: Option<LinkRow>,
    /// As [`ProcessRow::hottest`], of a process only.
    pub hottest: Option<LinkRow>,
    /// TIME_WAIT sockets made a second.
    pub created_rate: Rates,
    /// TIME_WAIT sockets gone a second.
    pub ended_rate: Rates,
    /// How long connections lived, in microseconds.
    pub age_us: Option<Percentiles>,
    /// Payload sent a connection, in bytes.
    pub sent: Option<Percentiles>,
    /// Payload received a connection, in bytes.
    pub received: Option<Percentiles>,
}

impl Measured {
    /// As [`ProcessRow::told`].
    pub fn told(&self) -> Option<&LinkRow> {
        told(self.hottest.as_ref(), self.main.as_ref())
    }
}

impl Tracker {
    /// What the connections of these rows were like; a row that does not exist is left out.
    pub fn measured(&self, keys: &[RowKey]) -> HashMap<RowKey, Measured> {
        if keys.is_empty() { HashMap::new() } else { self.measured_of(&self.survey(), keys) }
    }

    /// As [`Tracker::measured`], of a survey that was made.
    pub fn measured_of(&self, survey: &Survey<'_>, keys: &[RowKey]) -> HashMap<RowKey, Measured> {
        let mut measured = HashMap::new();
        for (key, row) in self.rows_named(keys) {
            let of = survey.indexes.of(self.engine.groups.rows[row as usize].table).groups(row);
            let groups = of.iter().map(|at| self.engine.group(*at));
            let [created_rate, ended_rate, _] = self.engine.rates(of, survey.now);
            let dealings = matches!(key, RowKey::Process(_)).then(|| survey.dealings(row));
            let of_row = Measured {
                main: dealings.and_then(|dealings| survey.main_of(&dealings)),
                hottest: dealings.and_then(|dealings| survey.hottest_of(&dealings)),
                created_rate,
                ended_rate,
                identity: if let RowKey::Process(process) = key { self.identity(process) } else { None },
                age_us: percentiles_of(groups.clone().map(|group| &group.age_us)),
                sent: percentiles_of(groups.clone().map(|group| &group.sent)),
                received: percentiles_of(groups.map(|group| &group.received)),
            };
            measured.insert(key.clone(), of_row);
        }
        measured
    }

    /// The numbers of rows. Processes have no index: all of them are looked for at once.
    fn rows_named<'a>(&self, keys: &'a [RowKey]) -> Vec<(&'a RowKey, u32)> {
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
