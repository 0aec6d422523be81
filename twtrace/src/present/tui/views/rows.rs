//! Owns: the rows of each view, and what a row says in each column.
//! Must not know: their order, which of them are shown.

use std::collections::HashSet;

use super::events::{happened, repeated};
use super::{Id, Picture, Tab, What, who};
use crate::engine::{
    AnyRow, BareRow, ContainerRow, Figures, Fold, FoldRow, LinkRow, NetnsRow, PeerRow, PortRow, Pressure,
    ProcessKey, ProcessRow, RowKey, Target, TupleRow,
};
use crate::model::escape::process_name;
use crate::model::identity::Identity;
use crate::present::tui::journal::{JournalEvent, Repeat};
use crate::present::tui::value::Value;

/// A row of a view. What it says is worked out for the columns that are asked for, so that thousands of rows cost little.
#[derive(Clone, Copy, Debug)]
pub(in crate::present::tui) enum ViewRow<'a> {
    /// And whether it stands behind what it is folded into.
    Process(&'a ProcessRow, bool, &'a Picture),
    Fold(&'a FoldRow, &'a Picture),
    Tuple(&'a TupleRow, &'a Picture),
    Peer(&'a PeerRow, &'a Picture),
    Port(&'a PortRow, &'a Picture),
    Container(&'a ContainerRow, &'a Picture),
    Netns(&'a NetnsRow, &'a Picture),
    /// Of any table but the last two; and whether it is a process that stands behind what it is folded into.
    Bare(&'a BareRow, bool, &'a Picture),
    /// And whether it stands behind others that are alike.
    Event(&'a JournalEvent, &'a Picture, bool),
    Repeat(&'a Repeat, &'a Picture),
}

/// The rows of a view, in no particular order.
pub(in crate::present::tui) fn rows(tab: Tab, picture: &Picture) -> Vec<ViewRow<'_>> {
    let tracker = &picture.frame.snapshot;
    let journal = |only_failures| {
        let repeats = picture.journal.iter().flat_map(move |journal| journal.repeats(only_failures));
        repeats
            .map(|repeat| match repeat.count {
                1 => ViewRow::Event(&repeat.last, picture, false),
                _ => ViewRow::Repeat(repeat, picture),
            })
            .collect()
    };
    let bare = tracker.bare.iter().map(|row| ViewRow::Bare(row, false, picture));
    match tab {
        Tab::Processes => processes(picture),
        Tab::Tuples => tracker.tuples.iter().map(|row| ViewRow::Tuple(row, picture)).chain(bare).collect(),
        Tab::Peers => tracker.peers.iter().map(|row| ViewRow::Peer(row, picture)).chain(bare).collect(),
        Tab::Ports => tracker.ports.iter().map(|row| ViewRow::Port(row, picture)).chain(bare).collect(),
        Tab::Containers => tracker.containers.iter().map(|row| ViewRow::Container(row, picture)).collect(),
        Tab::Netns => tracker.netns.iter().map(|row| ViewRow::Netns(row, picture)).collect(),
        Tab::Failures => journal(true),
        Tab::Events => journal(false),
    }
}

/// Rows of processes, and of those that are folded. Where nothing lives, was made or failed, there is nothing to be seen.
fn processes(picture: &Picture) -> Vec<ViewRow<'_>> {
    let Some(folded) = &picture.folded else { return Vec::new() };
    // One that is gone, and alone, is known better by its pid.
    let is_fold = |row: &&FoldRow| folded.by != Fold::Gone || row.members.len() > 1;
    let hidden: HashSet<&ProcessKey> =
        folded.rows.iter().filter(is_fold).flat_map(|row| &row.members).collect();
    let folds = folded.rows.iter().filter(is_fold).map(|row| ViewRow::Fold(row, picture));
    let has_own_row = |key: &ProcessKey| folded.by == Fold::Gone && !hidden.contains(key);
    let all = each_process(picture, false).filter(|(key, _)| has_own_row(key)).map(|(_, row)| row);
    folds.chain(all).filter(|row| !row.is_empty()).collect()
}

/// Every process, folded or not.
fn each_process(picture: &Picture, is_member: bool) -> impl Iterator<Item = (&ProcessKey, ViewRow<'_>)> {
    let snapshot = &picture.frame.snapshot;
    let whole =
        snapshot.processes.iter().map(move |row| (&row.key, ViewRow::Process(row, is_member, picture)));
    let bare = snapshot.bare.iter().filter_map(move |row| match &row.key {
        RowKey::Process(key) => Some((key, ViewRow::Bare(row, is_member, picture))),
        _ => None,
    });
    whole.chain(bare)
}

/// What a row stands for: the processes that are folded into it, the events that are alike.
pub(super) fn members<'a>(row: &ViewRow<'a>) -> Vec<ViewRow<'a>> {
    match *row {
        ViewRow::Fold(fold, picture) => {
            let all = each_process(picture, true).filter(|(key, _)| fold.members.contains(key));
            all.map(|(_, row)| row).collect()
        }
        ViewRow::Repeat(repeat, picture) => {
            let alike = picture.journal.iter().flat_map(|journal| journal.alike(repeat));
            alike.map(|event| ViewRow::Event(event, picture, true)).collect()
        }
        _ => Vec::new(),
    }
}

impl<'a> ViewRow<'a> {
    pub(in crate::present::tui) fn id(&self) -> Id {
        Id::Row(match self {
            Self::Process(row, ..) => RowKey::Process(row.key),
            Self::Fold(row, _) => return Id::Fold(row.name.clone()),
            Self::Tuple(row, _) => RowKey::Tuple(row.key),
            Self::Peer(row, _) => RowKey::Peer(row.key),
            Self::Port(row, _) => RowKey::Port(row.key),
            Self::Container(row, _) => RowKey::Container(row.key.clone()),
            Self::Netns(row, _) => RowKey::Netns(row.key),
            Self::Bare(row, ..) => row.key.clone(),
            Self::Event((number, _), ..) => return Id::Event(*number),
            Self::Repeat(repeat, _) => return Id::Repeat(repeat.number),
        })
    }

    /// The process is gone.
    pub(in crate::present::tui) fn is_gone(&self) -> bool {
        match self.whole() {
            Self::Process(row, ..) => row.gone,
            Self::Fold(row, _) => row.gone,
            _ => false,
        }
    }

    pub(super) fn figures(&self) -> Option<&'a Figures> {
        Some(match *self {
            Self::Process(row, ..) => &row.figures,
            Self::Fold(row, _) => &row.figures,
            Self::Tuple(row, _) => &row.figures,
            Self::Peer(row, _) => &row.figures,
            Self::Port(row, _) => &row.figures,
            Self::Container(row, _) => &row.figures,
            Self::Netns(row, _) => &row.figures,
            Self::Bare(..) | Self::Event(..) | Self::Repeat(..) => return None,
        })
    }

    /// Nothing lives, was made or failed.
    fn is_empty(&self) -> bool {
        match (self, self.figures()) {
            (Self::Bare(row, ..), _) => row.live + row.created == 0,
            (_, Some(figures)) => figures.live + figures.counts.created + figures.failed() == 0,
            _ => true,
        }
    }

    /// What it says in a column.
    pub(in crate::present::tui) fn value(&self, what: What) -> Value {
        let at_hand = match self {
            Self::Bare(row, ..) if what == What::Live => Some(Value::Count(row.live)),
            Self::Bare(row, ..) if what == What::Used => ports(row.pressure, what),
            _ => None,
        };
        let is_partial = what.is_measured() || matches!(self, Self::Bare(..));
        let said = || if is_partial { self.whole() } else { *self }.said(what);
        at_hand.or_else(said).unwrap_or(Value::Nothing)
    }

    fn said(&self, what: What) -> Option<Value> {
        let value = match self {
            Self::Process(row, is_member, picture) => process(row, *is_member, picture, what),
            Self::Fold(_, _) if what == What::Peak => Some(Value::Nothing),
            Self::Fold(row, picture) => fold(row, picture, what),
            Self::Tuple(row, picture) => tuple(row, picture, what),
            Self::Peer(row, _) => (what == What::Peer).then_some(Value::Address(row.key)),
            Self::Port(row, picture) => port(row, picture, what),
            Self::Container(row, _) => (what == What::Container).then(|| container(row)),
            Self::Netns(row, picture) => netns(row, picture, what),
            Self::Bare(..) => None,
            Self::Event((_, event), picture, is_member) => match what {
                What::Count if *is_member => None,
                What::Count => Some(Value::Times(1)),
                _ => happened(event, picture, what),
            },
            Self::Repeat(repeat, picture) => repeated(repeat, picture, what),
        };
        value.or_else(|| figure(self.figures()?, what))
    }

    /// With everything that it can say, where it was looked up: it is for rows that are seen.
    fn whole(self) -> Self {
        let Id::Row(key) = self.id() else { return self };
        let picture = self.picture();
        let is_member = matches!(self, Self::Process(_, true, _) | Self::Bare(_, true, _));
        match picture.whole.get(&key) {
            Some(AnyRow::Process(row)) => Self::Process(row, is_member, picture),
            Some(AnyRow::Tuple(row)) => Self::Tuple(row, picture),
            Some(AnyRow::Peer(row)) => Self::Peer(row, picture),
            Some(AnyRow::Port(row)) => Self::Port(row, picture),
            Some(AnyRow::Container(row)) => Self::Container(row, picture),
            Some(AnyRow::Netns(row)) => Self::Netns(row, picture),
            None => self,
        }
    }

    fn picture(&self) -> &'a Picture {
        match self {
            Self::Process(.., picture)
            | Self::Bare(.., picture)
            | Self::Fold(_, picture)
            | Self::Tuple(_, picture)
            | Self::Peer(_, picture)
            | Self::Port(_, picture)
            | Self::Container(_, picture)
            | Self::Netns(_, picture)
            | Self::Event(_, picture, _)
            | Self::Repeat(_, picture) => picture,
        }
    }
}

fn named(identity: &Identity, what: What) -> Option<Value> {
    Some(match what {
        What::Command => Value::hostile(identity.cmdline.get().or(identity.exe.as_ref())?),
        What::Container => Value::hostile(&identity.container.as_ref()?.to_string()),
        _ => return None,
    })
}

fn figure(figures: &Figures, what: What) -> Option<Value> {
    Some(match what {
        What::Live => Value::Count(figures.live),
        What::Created => Value::Rate(figures.created_rate.s10),
        What::Failed => Value::Count(figures.failed()),
        What::Ended => Value::Rate(figures.ended_rate.s10),
        What::Peak => Value::Count(figures.peak_live),
        What::InAll => Value::Count(figures.counts.created),
        What::Age => Value::Micros(figures.age_us.as_ref()?.p50),
        What::Age99 => Value::Micros(figures.age_us.as_ref()?.p99),
        What::Sent => Value::Size(figures.sent.as_ref()?.p50),
        What::Received => Value::Size(figures.received.as_ref()?.p50),
        _ => return None,
    })
}

fn ports(pressure: Option<Pressure>, what: What) -> Option<Value> {
    let pressure = pressure?;
    Some(match what {
        What::Used => Value::Share(pressure.fraction()),
        What::Left => Value::Count(pressure.left().into()),
        What::Lasts if pressure.full_in_s.is_none() && !pressure.has_rates => Value::Unknown,
        What::Lasts => Value::Lasts(pressure.full_in_s?),
        _ => return None,
    })
}

/// As [`who`]; where that is nobody, who it most likely is, marked as such.
fn whose(key: Option<ProcessKey>, of: Target, picture: &Picture, what: What) -> Option<Value> {
    let unknown = key.is_some_and(|key| key.is_unknown());
    let inferred = picture.frame.snapshot.inferred.get(&of).filter(|_| unknown);
    match (inferred, what) {
        (Some(inferred), What::Process) => {
            Some(Value::Text(format!("{}?", process_name(&inferred.comm.text())).into()))
        }
        (Some(inferred), What::Pid) => Some(Value::Pid(inferred.pid)),
        _ => who(key, what),
    }
}

/// What a line names of the things that are dealt with, and how full that is.
fn of_link(link: &LinkRow, targets: usize, what: What) -> Option<Value> {
    match what {
        What::Towards => Some(Value::Target(link.target, targets.saturating_sub(1))),
        _ => ports(link.pressure, what),
    }
}

fn fold(row: &FoldRow, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Pid => Some(Value::Times(row.members.len() as u64)),
        What::Process => {
            Some(Value::Text(match (picture.folded.as_ref().map(|folded| folded.by)?, row.name.as_deref()) {
                (Fold::Netns, Some(inode)) => {
                    inode.parse().map_or_else(|_| inode.to_owned(), |inode| picture.netns(inode)).into()
                }
                (_, Some(name)) => process_name(name).into_owned().into(),
                (Fold::Unit, None) => "(no unit)".into(),
                (Fold::Container, None) => "(host)".into(),
                (Fold::Pod, None) => "(no pod)".into(),
                (Fold::Gone | Fold::Program | Fold::Netns, None) => "unknown".into(),
            }))
        }
        _ => of_link(row.told()?, row.targets, what),
    }
}

fn process(row: &ProcessRow, is_member: bool, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Process if is_member => {
            Some(Value::Text(format!("  {}", process_name(&row.key.comm.text())).into()))
        }
        What::Pid | What::Process => who(Some(row.key), what),
        What::Uid => (!row.key.is_unknown()).then(|| Value::Count(row.uid.into())),
        What::Command if row.key.is_unknown() => {
            let inferred = picture.frame.snapshot.inferred.get(&row.told()?.target)?;
            let name = process_name(&inferred.comm.text()).into_owned();
            Some(Value::Text(format!("{}/{name}? (inferred)", inferred.pid).into()))
        }
        what if what.is_of_link() => of_link(row.told()?, row.targets, what),
        what if what.is_identity() => named(row.identity.as_deref()?, what),
        _ => None,
    }
}

fn tuple(row: &TupleRow, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Pid | What::Process => whose(row.main, Target::Tuple(row.key), picture, what),
        What::Netns => Some(Value::Text(picture.netns(row.key.netns).into())),
        What::Tuple => Some(Value::Tuple(row.key)),
        // Nobody knows how many ports there are.
        What::Lasts if row.pressure.is_none() => Some(Value::Unknown),
        _ => ports(row.pressure, what),
    }
}

fn port(row: &PortRow, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Port => Some(Value::Count(row.key.sport.into())),
        What::Netns => Some(Value::Text(picture.netns(row.key.netns).into())),
        _ => whose(row.main, Target::Port(row.key), picture, what),
    }
}

fn container(row: &ContainerRow) -> Value {
    row.key.as_ref().map_or(Value::Text("(host)".into()), |name| Value::hostile(name))
}

fn netns(row: &NetnsRow, picture: &Picture, what: What) -> Option<Value> {
    let capacity = row.capacity.as_ref();
    match what {
        What::Netns => Some(Value::Text(picture.netns(row.key).into())),
        What::Full => full(row).map(Value::Share),
        What::Buckets => capacity?.settings.max_tw_buckets.map(|most| Value::Count(most.into())),
        What::Ports => capacity.map(|capacity| Value::Count(capacity.ports().into())),
        _ => who(row.main, what),
    }
}

/// Share of `tcp_max_tw_buckets`; `None` where that is not known.
pub(super) fn full(row: &NetnsRow) -> Option<f64> {
    Some(row.figures.live as f64 / f64::from(row.capacity.as_ref()?.settings.max_tw_buckets?.max(1)))
}
