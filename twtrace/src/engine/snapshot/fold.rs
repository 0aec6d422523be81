//! Owns: processes folded into what they have in common: those that are gone into their program, or all of them into programs, systemd
//! units, containers, pods or network namespaces.
//! Must not know: who asked, how it is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Survey, hotter};
use super::{Figures, LinkRow, ProcessKey};
use crate::engine::groups::{Group, Table};
use crate::engine::key::Side;
use crate::engine::{GONE_STAYS_NS, Tracker};
use crate::model::identity::{Names, unit_of};

/// What processes are folded into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Each that exists has a row of its own; those that are gone are folded into their program.
    #[default]
    Gone,
    /// All of one program, by its name and container.
    Program,
    /// All of one systemd unit.
    Unit,
    /// All of one container.
    Container,
    /// All of one Kubernetes pod.
    Pod,
    /// All in one network namespace.
    Netns,
}

/// Processes that are folded.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldRow {
    /// What they have in common, as [`Fold`] says: the name of a program, a unit, a container or a pod, or the inode of a namespace. Hostile
    /// until escaped; `None` where there is none. A program's can be empty.
    pub name: Option<String>,
    /// Who they are.
    pub members: BTreeSet<ProcessKey>,
    /// None of them exists any more.
    pub gone: bool,
    /// All together. The most that lived at a time is not known of them, and is 0.
    pub figures: Figures,
    /// What they mainly deal with.
    pub main: Option<LinkRow>,
    /// Of what they deal with, that whose ports are used up or are used up soonest.
    pub hottest: Option<LinkRow>,
    /// How many things the one of them deals with that deals with most.
    pub targets: usize,
}

impl FoldRow {
    /// What a line about it should name: where ports run short, and else what it mainly deals with.
    pub fn told(&self) -> Option<&LinkRow> {
        super::told(self.hottest.as_ref(), self.main.as_ref())
    }
}

/// One row, being gathered.
#[derive(Default)]
struct Gathered {
    groups: Vec<u32>,
    /// What each of the processes deals with here.
    processes: BTreeMap<u32, BTreeSet<u32>>,
    live: u64,
    last_ns: u64,
    /// One of the processes exists.
    exists: bool,
    /// Something in it ended, for a reason that counts.
    has_ended: bool,
}

impl Tracker {
    /// Processes folded, in the order of their names. Where only those that are gone are folded, the others are in no row here.
    pub fn folded(&self, survey: &Survey<'_>, fold: Fold) -> Vec<FoldRow> {
        let mut all: BTreeMap<Option<String>, Gathered> = BTreeMap::new();
        for (at, group) in self.engine.all() {
            let Some((name, process)) = self.name_of(group, fold) else { continue };
            let row = all.entry(name).or_default();
            row.groups.push(at);
            row.processes.entry(process).or_default().extend(group.row(Table::Link));
            row.live += u64::from(group.live);
            row.last_ns = row.last_ns.max(group.last_ns);
            row.exists |= !self.engine.groups.rows[process as usize].gone;
            row.has_ended |= group.counts.ended() != 0;
        }
        // By the rules of rows that are not folded.
        let is_over = |row: &Gathered| {
            !row.exists && row.live == 0 && row.last_ns.saturating_add(GONE_STAYS_NS) < self.now_ns
        };
        let asks_for_ends = !self.engine.reasons.is_empty();
        all.retain(|_, row| !is_over(row) && (row.has_ended || !asks_for_ends));
        all.into_iter().map(|(name, row)| self.fold_row(name, &row, survey)).collect()
    }

    /// The name of the row that a group is folded into, and its process; `None` where it is in none.
    fn name_of(&self, group: &Group, fold: Fold) -> Option<(Option<String>, u32)> {
        let process = group.row(Table::Process).filter(|_| group.key.side != Side::Others)?;
        let (owner, text) = (group.key.owner, |id| self.engine.text(id).unwrap_or_default().to_owned());
        let some = |name: String| Some(name).filter(|name| !name.is_empty());
        let name = match fold {
            Fold::Gone if !self.engine.groups.rows[process as usize].gone => return None,
            Fold::Gone | Fold::Program => owner.map(|owner| text(owner.comm)),
            Fold::Unit => owner.and_then(|owner| some(unit_of(&text(owner.cgroup)).to_owned())),
            Fold::Container => owner.and_then(|owner| some(text(owner.container))),
            Fold::Pod => owner.and_then(|owner| some(self.pod_of(&text(owner.container)))),
            Fold::Netns => Some(group.key.netns.to_string()),
        };
        Some((name, process))
    }

    /// `namespace/pod`, as far as the container's runtime has said so by now.
    fn pod_of(&self, container: &str) -> String {
        let names = self.engine.namings.peek(container).and_then(|naming| naming.get());
        names.and_then(Names::full_pod).unwrap_or_default()
    }

    fn fold_row(&self, name: Option<String>, row: &Gathered, survey: &Survey<'_>) -> FoldRow {
        let figures = Figures { live: row.live, ..self.engine.figures(&row.groups, survey.now) };
        let (mut main, mut hottest, mut targets) = (None::<(u32, LinkRow)>, None::<LinkRow>, 0);
        for links in row.processes.values() {
            let mut of_one = 0;
            // What there is no room to tell apart is none.
            for (at, link) in links.iter().filter_map(|at| Some((*at, survey.link(*at)?))) {
                of_one += 1;
                if main.is_none_or(|(known, _)| survey.wins(at, known)) {
                    main = Some((at, link));
                }
                if link.pressure.is_some_and(|mine| hotter(mine, hottest.and_then(|known| known.pressure))) {
                    hottest = Some(link);
                }
            }
            targets = targets.max(of_one);
        }
        let main = main.map(|(_, link)| link);
        let members = row.processes.keys().filter_map(|row| self.engine.process_key(*row)).collect();
        FoldRow { name, members, gone: !row.exists, figures, main, hottest, targets }
    }
}
