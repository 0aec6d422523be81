//! Owns: two recordings side by side: what changed in all and for each process, what appeared and what went, which settings differ, and
//! which conditions on that hold.
//! Must not know: how recordings are read, where the words go.

mod cautions;
mod condition;
pub mod json;
mod metric;
pub mod text;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use condition::{Condition, ConditionResult};
pub use metric::{METRICS, Metric, Unit};
use serde::Serialize;

use crate::engine::TupleKey;
use crate::model::ordering::Ordered as _;
use crate::model::settings::Settings;
use crate::present::report::model::{By, Name, Report, ReportRow};
use crate::recording::Namespace;

/// A number before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// In the old recording; `None` where it is not known.
    pub old: Option<f64>,
    /// In the new one.
    pub new: Option<f64>,
}

impl Pair {
    /// By how much it grew.
    pub fn change(&self) -> Option<f64> {
        Some(self.new? - self.old?)
    }

    /// By which share of the old one it grew: 0.1 is ten percent more. What grew from nothing grew infinitely.
    pub fn growth(&self) -> Option<f64> {
        let (old, change) = (self.old?, self.change()?);
        if change == 0.0 {
            return Some(0.0);
        }
        Some(if old == 0.0 { change.signum() * f64::INFINITY } else { change / old.abs() })
    }
}

/// Whether there was something of it in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// In both.
    Both,
    /// Only in the new one.
    Appeared,
    /// Only in the old one.
    Gone,
}

/// A row of both recordings. Rates are events a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Whose it is, where one of the two has several machines; processes of one name are those of all machines. Hostile until escaped.
    pub host: Option<String>,
    /// What it is about: processes of one name, or a tuple.
    pub name: Name,
    /// In which of the two it is.
    pub presence: Presence,
    /// TIME_WAIT sockets made a second.
    pub created_rate: Pair,
    /// TIME_WAIT sockets gone a second.
    pub ended_rate: Pair,
    /// Overflows, and failures of connect() and bind(), a second.
    pub failed_rate: Pair,
    /// Highest pressure of any of its tuples.
    pub pressure: Pair,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `tcp_tw_reuse`, less the `net.ipv4.`.
    pub name: &'static str,
    /// Its value, as the kernel writes it.
    pub old: String,
    /// Its value, as the kernel writes it.
    pub new: String,
    /// The network namespace in the old recording.
    pub old_netns: u32,
    /// And in the new one.
    pub new_netns: u32,
}

/// Two recordings side by side.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The old one.
    pub old: &'a Report,
    /// The new one.
    pub new: &'a Report,
    /// In the order of [`METRICS`].
    pub totals: Vec<(&'static Metric, Pair)>,
    /// By the owner's name: pids differ from run to run. The largest change of rate first.
    pub processes: Vec<Change>,
    /// By tuple, whatever its network namespace. The largest change of rate first.
    pub tuples: Vec<Change>,
    /// Settings at the start that differ.
    pub settings: Vec<Setting>,
}

/// Compares two reports, which have a table by tuple each.
pub fn compare<'a>(old: &'a Report, new: &'a Report) -> Comparison<'a> {
    let total = |metric: &'static Metric| (metric, Pair { old: metric.of(old), new: metric.of(new) });
    let tuples = |report: &'a Report| report.table(By::Tuple).unwrap_or_default();
    Comparison {
        old,
        new,
        totals: METRICS.iter().map(total).collect(),
        processes: changes((old, &old.comms), (new, &new.comms)),
        tuples: changes((old, tuples(old)), (new, tuples(new))),
        settings: settings(old, new),
    }
}

/// What a row goes by in both recordings: a network namespace has another inode in each run.
fn known_as(name: &Name) -> Name {
    match name {
        Name::Tuple(key) => Name::Tuple(TupleKey { netns: 0, ..*key }),
        name => name.clone(),
    }
}

/// What of one thing there was in a recording.
#[derive(Clone, Copy, Default)]
struct InRecording {
    created: u64,
    ended: u64,
    failed: u64,
    pressure: Option<f64>,
}

/// A machine, where there are several, and what is on it.
type ChangeKey = (Option<String>, Name);

fn parts(report: &Report, rows: &[ReportRow], has_hosts: bool) -> BTreeMap<ChangeKey, InRecording> {
    let mut parts: BTreeMap<ChangeKey, InRecording> = BTreeMap::new();
    for ReportRow { host, name, figures, peak, .. } in rows {
        // Pools of two machines have nothing in common, programs have their names.
        let is_pool = has_hosts && matches!(name, Name::Tuple(_));
        let host = is_pool.then(|| host.clone().unwrap_or_else(|| report.head.host.clone()));
        let part = parts.entry((host, known_as(name))).or_default();
        part.created += figures.counts.created;
        part.ended += figures.counts.ended();
        part.failed += figures.failed();
        let pressure = peak.map(|peak| peak.pressure());
        part.pressure = match (part.pressure, pressure) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }
    parts
}

fn changes(old: (&Report, &[ReportRow]), new: (&Report, &[ReportRow])) -> Vec<Change> {
    let has_hosts = [old.0, new.0].iter().any(|report| !report.hosts.is_empty());
    let (before, after) = (parts(old.0, old.1, has_hosts), parts(new.0, new.1, has_hosts));
    let names: std::collections::BTreeSet<&ChangeKey> = before.keys().chain(after.keys()).collect();
    let change = |key: &&ChangeKey| {
        let (one, other) = (before.get(*key), after.get(*key));
        let rate = |pick: fn(&InRecording) -> u64| Pair {
            old: Some(old.0.per_second(one.map_or(0, pick))),
            new: Some(new.0.per_second(other.map_or(0, pick))),
        };
        Change {
            host: key.0.clone(),
            name: key.1.clone(),
            presence: match (one, other) {
                (Some(_), Some(_)) => Presence::Both,
                (None, _) => Presence::Appeared,
                (_, None) => Presence::Gone,
            },
            created_rate: rate(|part| part.created),
            ended_rate: rate(|part| part.ended),
            failed_rate: rate(|part| part.failed),
            pressure: Pair {
                old: one.and_then(|part| part.pressure),
                new: other.and_then(|part| part.pressure),
            },
        }
    };
    let mut all: Vec<Change> = names.iter().map(change).collect();
    let weight = |change: &Change| {
        let grown = |pair: &Pair| pair.change().unwrap_or(0.0).abs();
        grown(&change.created_rate) + grown(&change.failed_rate)
    };
    all.order_by(|a, b| {
        weight(b).total_cmp(&weight(a)).then_with(|| (&a.name, &a.host).cmp(&(&b.name, &b.host)))
    });
    all
}

/// Every setting of two namespaces as text.
fn words(settings: &Settings) -> Vec<(&'static str, String)> {
    let number = |value: Option<u32>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let (low, high) = settings.port_range.unwrap_or_default();
    let range = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let reserved: Vec<String> = settings.reserved.iter().map(range).collect();
    vec![
        ("ip_local_port_range", format!("{low} {high}")),
        ("ip_local_reserved_ports", if reserved.is_empty() { "none".to_owned() } else { reserved.join(",") }),
        ("tcp_tw_reuse", number(settings.tw_reuse)),
        ("tcp_tw_reuse_delay", number(settings.tw_reuse_delay_ms)),
        ("tcp_max_tw_buckets", number(settings.max_tw_buckets)),
        ("tcp_timestamps", number(settings.timestamps)),
        ("tcp_rfc1337", number(settings.rfc1337)),
        ("tcp_fin_timeout", number(settings.fin_timeout_s)),
    ]
}

/// The namespaces of a recording as they were first told of.
fn namespaces(report: &Report) -> Vec<&Namespace> {
    let tail = report.tail.iter().flat_map(|tail| &tail.namespaces);
    let mut seen = HashSet::new();
    let all = report.head.namespaces.iter().chain(&report.met).chain(tail);
    all.filter(|namespace| namespace.sysctls.is_some() && seen.insert(namespace.netns)).collect()
}

/// The namespace in which most was created.
fn busiest(report: &Report) -> Option<u32> {
    let rows = report.table(By::Netns)?.iter();
    let most = rows.max_by_key(|row| row.figures.counts.events())?;
    match most.name {
        Name::Netns(inode, _) => Some(inode),
        _ => None,
    }
}

/// Settings of the same namespace, by inode (where the machine has not been booted since) or by name; and of the busiest ones of both.
fn settings(old: &Report, new: &Report) -> Vec<Setting> {
    let (before, after) = (namespaces(old), namespaces(new));
    let same_boot = old.head.boot_id == new.head.boot_id && !old.head.boot_id.is_empty();
    let busiest = busiest(old).zip(busiest(new));
    let (mut by_inode, mut by_name) = (HashMap::new(), HashMap::new());
    for (at, other) in after.iter().enumerate() {
        by_inode.entry(other.netns).or_insert(at);
        by_name.entry(other.name.as_deref()).or_insert(at);
    }
    // The first that is the same, by whatever.
    let same = |one: &Namespace| {
        let inode = same_boot.then(|| by_inode.get(&one.netns)).flatten();
        let name = one.name.as_deref().and_then(|name| by_name.get(&Some(name)));
        let busy =
            busiest.filter(|(mine, _)| *mine == one.netns).and_then(|(_, theirs)| by_inode.get(&theirs));
        [inode, name, busy].into_iter().flatten().min().map(|at| after[*at])
    };
    let mut found = Vec::new();
    for one in &before {
        let Some(other) = same(one) else { continue };
        let (Some(a), Some(b)) = (&one.sysctls, &other.sysctls) else { continue };
        let both = words(a).into_iter().zip(words(b)).filter(|((_, a), (_, b))| a != b);
        found.extend(both.map(|((name, old), (_, new))| Setting {
            name,
            old,
            new,
            old_netns: one.netns,
            new_netns: other.netns,
        }));
    }
    found
}
