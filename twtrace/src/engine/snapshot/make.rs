//! Owns: how what the engine counted becomes one row.
//! Must not know: which rows there are, and in which order.

use std::net::IpAddr;

use super::survey::Survey;
use super::*;
use crate::engine::Tracker;
use crate::engine::groups::Table;
use crate::engine::key::RowId;
use crate::engine::pattern::Evidence;

/// Makes rows of one table. All are named by their number.
#[derive(Clone, Copy)]
pub(super) struct Make<'a> {
    pub(super) tracker: &'a Tracker,
    pub(super) survey: &'a Survey<'a>,
    pub(super) table: Table,
    pub(super) extent: Extent,
}

impl Make<'_> {
    pub(super) fn id(&self, row: u32) -> RowId {
        self.tracker.engine.groups.rows[row as usize].id
    }

    pub(super) fn peer_key(&self, row: u32) -> Option<IpAddr> {
        match self.id(row) {
            RowId::Peer(address) => self.tracker.engine.address(address),
            _ => None,
        }
    }

    pub(super) fn port_key(&self, row: u32) -> Option<PortKey> {
        match self.id(row) {
            RowId::Port { netns, port } => Some(PortKey { netns, sport: port }),
            _ => None,
        }
    }

    pub(super) fn container_key(&self, row: u32) -> Option<Option<String>> {
        match self.id(row) {
            RowId::Container(name) => Some(self.tracker.engine.text(name).map(str::to_owned)),
            _ => None,
        }
    }

    pub(super) fn netns_key(&self, row: u32) -> Option<u32> {
        match self.id(row) {
            RowId::Netns(inode) => Some(inode),
            _ => None,
        }
    }

    /// Whether a finding could be about a row in which nothing failed.
    pub(super) fn presses(&self, row: u32) -> bool {
        match self.table {
            Table::Process => {
                let pressure = self.survey.pressure_of(&self.survey.dealings(row));
                matches!(self.id(row), RowId::Process { pid: 0, .. })
                    || pressure.is_some_and(|pressure| pressure.is_pressing())
            }
            Table::Tuple => self.survey.may_press(row),
            _ => false,
        }
    }

    /// A row's figures; of one that a finding could be about its rates as well.
    pub(super) fn figures(&self, row: u32, presses: bool) -> Figures {
        let of = self.survey.indexes.of(self.table).groups(row);
        self.tracker.engine.row_figures(row, of, self.survey.now, self.extent.depth(presses))
    }

    pub(super) fn process(&self, row: u32, key: ProcessKey) -> ProcessRow {
        let (engine, survey) = (&self.tracker.engine, self.survey);
        let (dealings, figures) = (survey.dealings(row), self.figures(row, false));
        let pressure = survey.pressure_of(&dealings);
        let has_links = self.extent.links || figures.failed() != 0 || self.presses(row);
        let latest = self.tracker.latest(survey.indexes.of(Table::Process).groups(row));
        ProcessRow {
            key,
            uid: latest.and_then(|group| group.key.owner).map_or(0, |owner| owner.uid),
            identity: if self.extent.identities { self.tracker.owners.identity(&key) } else { None },
            gone: engine.groups.rows[row as usize].gone,
            main: if has_links { survey.main_of(&dealings) } else { None },
            hottest: if has_links { survey.hottest_of(&dealings) } else { None },
            targets: dealings.targets,
            pressure,
            pattern: if self.extent.percentiles {
                Pattern::of(&Evidence::of(&figures, dealings.starved, pressure))
            } else {
                Pattern::Unclear
            },
            figures,
        }
    }

    pub(super) fn tuple(&self, row: u32, key: TupleKey) -> TupleRow {
        let (engine, survey) = (&self.tracker.engine, self.survey);
        let known = engine.groups.rows[row as usize].pool();
        TupleRow {
            key,
            figures: self.figures(row, survey.may_press(row)),
            pressure: survey.pressure(row),
            others: known.and_then(|pool| engine.pools.others_by_state(pool)),
            hidden: known.map_or(0, |pool| engine.pools.hidden(pool)),
            main: survey.holder(row),
            shares: survey.shares_of_pool(row),
            wanted: survey.failed[row as usize],
        }
    }

    pub(super) fn port(&self, row: u32, key: PortKey) -> PortRow {
        PortRow { key, figures: self.figures(row, false), main: self.survey.holder(row) }
    }

    pub(super) fn netns(&self, row: u32, key: u32) -> NetnsRow {
        NetnsRow {
            key,
            figures: self.figures(row, true),
            capacity: self.tracker.engine.pools.told(key).cloned(),
            main: self.survey.holder(row),
            refused: self.survey.failed[row as usize],
        }
    }
}
