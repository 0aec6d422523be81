//! Owns: the rows of each view, and what a row says in each column.
//! Must not know: their order, which of them are shown.

use std::collections::HashSet;

use super::events::{happened, repeated};
use super::press::full;
use super::{Id, Picture, Tab, What};
use crate::engine::{
    ContainerRow, Figures, Fold, FoldRow, LinkRow, Measured, NetnsRow, PeerRow, PortRow, Pressure,
    ProcessKey, ProcessRow, RowKey, Target, TupleRow,
};
use crate::model::escape::printable;
use crate::model::identity::Identity;
use crate::present::tui::journal::{Numbered, Repeat};
use crate::present::tui::value::Value;

/// A row of a view. What it says is worked out for the columns that are asked for, so that thousands of rows cost little.
#[derive(Clone, Copy, Debug)]
pub(in crate::present::tui) enum Row<'a> {
    /// And whether it stands behind what it is folded into.
    Process(&'a ProcessRow, bool, &'a Picture),
    Fold(&'a FoldRow, &'a Picture),
    Tuple(&'a TupleRow, &'a Picture),
    Peer(&'a PeerRow, &'a Picture),
    Port(&'a PortRow, &'a Picture),
    Container(&'a ContainerRow, &'a Picture),
    Netns(&'a NetnsRow, &'a Picture),
    /// And whether it stands behind others that are alike.
    Event(&'a Numbered, &'a Picture, bool),
    Repeat(&'a Repeat, &'a Picture),
}

/// The rows of a view, in no particular order.
pub(in crate::present::tui) fn rows(tab: Tab, picture: &Picture) -> Vec<Row<'_>> {
    let tracker = &picture.frame.snapshot;
    let journal = |only_failures| {
        let repeats = picture.journal.iter().flat_map(move |journal| journal.repeats(only_failures));
        repeats
            .map(|repeat| match repeat.count {
                1 => Row::Event(&repeat.last, picture, false),
                _ => Row::Repeat(repeat, picture),
            })
            .collect()
    };
    match tab {
        Tab::Processes => processes(picture),
        Tab::Tuples => tracker.tuples.iter().map(|row| Row::Tuple(row, picture)).collect(),
        Tab::Peers => tracker.peers.iter().map(|row| Row::Peer(row, picture)).collect(),
        Tab::Ports => tracker.ports.iter().map(|row| Row::Port(row, picture)).collect(),
        Tab::Containers => tracker.containers.iter().map(|row| Row::Container(row, picture)).collect(),
        Tab::Netns => tracker.netns.iter().map(|row| Row::Netns(row, picture)).collect(),
        Tab::Failures => journal(true),
        Tab::Events => journal(false),
    }
}

/// Rows of processes, and of those that are folded. Where nothing lives, was made or failed, there is nothing to be seen.
fn processes(picture: &Picture) -> Vec<Row<'_>> {
    let Some(folded) = &picture.folded else { return Vec::new() };
    // One that is gone, and alone, is known better by its pid.
    let is_fold = |row: &&FoldRow| folded.by != Fold::Gone || row.members.len() > 1;
    let hidden: HashSet<&ProcessKey> =
        folded.rows.iter().filter(is_fold).flat_map(|row| &row.members).collect();
    let folds = folded.rows.iter().filter(is_fold).map(|row| Row::Fold(row, picture));
    let all = picture.frame.snapshot.processes.iter();
    let has_own_row = |row: &&ProcessRow| folded.by == Fold::Gone && !hidden.contains(&row.key);
    let is_seen = |row: &Row<'_>| {
        row.figures().is_some_and(|figures| figures.live + figures.counts.created + figures.failed() != 0)
    };
    folds
        .chain(all.filter(has_own_row).map(|row| Row::Process(row, false, picture)))
        .filter(is_seen)
        .collect()
}

/// What a row stands for: the processes that are folded into it, the events that are alike.
pub(super) fn members<'a>(row: &Row<'a>) -> Vec<Row<'a>> {
    match *row {
        Row::Fold(fold, picture) => {
            let all = picture.frame.snapshot.processes.iter();
            let is_member = |row: &&ProcessRow| fold.members.contains(&row.key);
            all.filter(is_member).map(|row| Row::Process(row, true, picture)).collect()
        }
        Row::Repeat(repeat, picture) => {
            let alike = picture.journal.iter().flat_map(|journal| journal.alike(repeat));
            alike.map(|event| Row::Event(event, picture, true)).collect()
        }
        _ => Vec::new(),
    }
}

impl Row<'_> {
    pub(in crate::present::tui) fn id(&self) -> Id {
        Id::Row(match self {
            Self::Process(row, ..) => RowKey::Process(row.key),
            Self::Fold(row, _) => return Id::Fold(row.name.clone()),
            Self::Tuple(row, _) => RowKey::Tuple(row.key),
            Self::Peer(row, _) => RowKey::Peer(row.key),
            Self::Port(row, _) => RowKey::Port(row.key),
            Self::Container(row, _) => RowKey::Container(row.key.clone()),
            Self::Netns(row, _) => RowKey::Netns(row.key),
            Self::Event((number, _), ..) => return Id::Event(*number),
            Self::Repeat(repeat, _) => return Id::Repeat(repeat.number),
        })
    }

    /// The process is gone.
    pub(in crate::present::tui) fn is_gone(&self) -> bool {
        match self {
            Self::Process(row, ..) => row.gone,
            Self::Fold(row, _) => row.gone,
            _ => false,
        }
    }

    pub(super) fn figures(&self) -> Option<&Figures> {
        Some(match self {
            Self::Process(row, ..) => &row.figures,
            Self::Fold(row, _) => &row.figures,
            Self::Tuple(row, _) => &row.figures,
            Self::Peer(row, _) => &row.figures,
            Self::Port(row, _) => &row.figures,
            Self::Container(row, _) => &row.figures,
            Self::Netns(row, _) => &row.figures,
            Self::Event(..) | Self::Repeat(..) => return None,
        })
    }

    /// What it says in a column.
    pub(in crate::present::tui) fn value(&self, what: What) -> Value {
        let value = match self {
            Self::Process(row, is_member, picture) => process(row, *is_member, picture, what),
            Self::Fold(_, _) if what == What::Peak => Some(Value::Nothing),
            Self::Fold(row, picture) => fold(row, picture, what),
            Self::Tuple(row, picture) => tuple(row, picture, what),
            Self::Peer(row, _) => (what == What::Peer).then_some(Value::Address(row.key)),
            Self::Port(row, picture) => port(row, picture, what),
            Self::Container(row, _) => (what == What::Container).then(|| container(row)),
            Self::Netns(row, picture) => netns(row, picture, what),
            Self::Event((_, event), picture, is_member) => match what {
                What::Count if *is_member => None,
                What::Count => Some(Value::Times(1)),
                _ => happened(event, picture, what),
            },
            Self::Repeat(repeat, picture) => repeated(repeat, picture, what),
        };
        let value = value.or_else(|| if what.is_measured() { self.measured(what) } else { None });
        value.or_else(|| figure(self.figures()?, what)).unwrap_or(Value::Nothing)
    }

    /// What its connections were like, and what the process is.
    fn measured(&self, what: What) -> Option<Value> {
        if what.is_identity() {
            return named(self.identity()?, what);
        }
        let figures = self.figures()?;
        if what.is_of_link() {
            let Self::Process(row, ..) = self else { return None };
            return of_link(self.looked_up()?.told()?, row.targets, what);
        }
        if what.is_rate() {
            let Measured { created_rate, ended_rate, .. } = self.looked_up()?;
            return Some(Value::Rate(if what == What::Created { created_rate.s10 } else { ended_rate.s10 }));
        }
        let (age_us, sent, received) = match self.looked_up() {
            Some(Measured { age_us, sent, received, .. }) => (age_us, sent, received),
            None => (&figures.age_us, &figures.sent, &figures.received),
        };
        Some(match what {
            What::Age => Value::Micros(age_us.as_ref()?.p50),
            What::Age99 => Value::Micros(age_us.as_ref()?.p99),
            What::Sent => Value::Size(sent.as_ref()?.p50),
            What::Received => Value::Size(received.as_ref()?.p50),
            _ => return None,
        })
    }

    /// What the process is, in its row or where it was looked up.
    fn identity(&self) -> Option<&Identity> {
        let Self::Process(row, ..) = self else { return None };
        row.identity.as_ref().or_else(|| self.looked_up()?.identity.as_ref()).map(|identity| &**identity)
    }

    /// What was looked up for this row alone.
    fn looked_up(&self) -> Option<&Measured> {
        let Id::Row(key) = self.id() else { return None };
        self.picture().measured.get(&key)
    }

    fn picture(&self) -> &Picture {
        match self {
            Self::Process(.., picture)
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
        _ => return None,
    })
}

fn ports(pressure: Option<Pressure>, what: What) -> Option<Value> {
    let pressure = pressure?;
    Some(match what {
        What::Used => Value::Share(pressure.fraction()),
        What::Left => Value::Count(pressure.left().into()),
        What::Lasts => Value::Lasts(pressure.full_in_s?),
        _ => return None,
    })
}

/// A process, where there is one to name.
pub(super) fn who(key: Option<ProcessKey>, what: What) -> Option<Value> {
    let key = key?;
    Some(match what {
        What::Pid if key.is_unknown() => return None,
        What::Pid => Value::Pid(key.pid),
        What::Process if key.is_unknown() => Value::Text("unknown".into()),
        What::Process => Value::hostile(&key.comm.text()),
        _ => return None,
    })
}

/// As [`who`]; where that is nobody, who it most likely is, marked as such.
fn whose(key: Option<ProcessKey>, of: Target, picture: &Picture, what: What) -> Option<Value> {
    let unknown = key.is_some_and(|key| key.is_unknown());
    let inferred = picture.frame.snapshot.inferred.get(&of).filter(|_| unknown);
    match (inferred, what) {
        (Some(inferred), What::Process) => {
            Some(Value::Text(format!("{}?", printable(&inferred.comm.text())).into()))
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
            Some(Value::Text(match (picture.folded.as_ref().map(|folded| folded.by)?, row.name.as_str()) {
                (Fold::Netns, inode) => {
                    inode.parse().map_or_else(|_| inode.to_owned(), |inode| picture.netns(inode)).into()
                }
                (Fold::Gone | Fold::Program, "") => "unknown".into(),
                (Fold::Unit, "") => "(no unit)".into(),
                (Fold::Container, "") => "(host)".into(),
                (Fold::Pod, "") => "(no pod)".into(),
                (_, name) => printable(name).into_owned().into(),
            }))
        }
        _ => of_link(row.told()?, row.targets, what),
    }
}

fn process(row: &ProcessRow, is_member: bool, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Process if is_member => {
            Some(Value::Text(format!("  {}", printable(&row.key.comm.text())).into()))
        }
        What::Pid | What::Process => who(Some(row.key), what),
        What::Uid => (!row.key.is_unknown()).then(|| Value::Count(row.uid.into())),
        What::Command if row.key.is_unknown() => {
            let inferred = picture.frame.snapshot.inferred.get(&row.told()?.target)?;
            let name = printable(&inferred.comm.text()).into_owned();
            Some(Value::Text(format!("{}/{name}? (inferred)", inferred.pid).into()))
        }
        what if what.is_of_link() => of_link(row.told()?, row.targets, what),
        _ => None,
    }
}

fn tuple(row: &TupleRow, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Pid | What::Process => whose(row.main, Target::Tuple(row.key), picture, what),
        What::Netns => Some(Value::Text(picture.netns(row.key.netns).into())),
        What::Tuple => Some(Value::Tuple(row.key)),
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
        What::Buckets => capacity.map(|capacity| Value::Count(capacity.max_tw_buckets.into())),
        What::Ports => capacity.map(|capacity| Value::Count(capacity.ports.into())),
        _ => who(row.main, what),
    }
}
