//! Owns: a report as words: lines of a summary, cells of tables, the filters as people know them. The text and the page both show these.
//! Must not know: columns on a terminal, HTML.
//!
//! Every text that leaves here is printable: what strangers chose (names, paths, commands) has been escaped. HTML's own escaping is
//! the page's business.

mod summary;
mod tables;
mod verdict;

pub use summary::{Line, of_one, summary};
pub use tables::{Cell, Column, View, table, timeline};
pub use verdict::verdict;

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::model::{Host, Name, Report, Target};
use crate::engine::{PortKey, TupleKey};
use crate::model::escape::{printable, process_name};
use crate::model::figures::{bytes, short_time};
use crate::model::filter::by_name;
use crate::present::live;
use crate::recording::{Head, Namespace, Tail};

/// Of what is not known.
pub const NOTHING: &str = "-";

/// The time of day of a monotonic time stamp.
pub fn time_of_day(report: &Report, mono_ns: u64, zone: &TimeZone) -> String {
    let time = report.clock.time(mono_ns);
    // A time line of tenths of a second needs them.
    let format = if report.timeline.every_ns < 1_000_000_000 { "%H:%M:%S.%1f" } else { "%H:%M:%S" };
    time.to_zoned(zone.clone()).strftime(format).to_string()
}

/// `2026-11-22 16:05:09`
pub fn date(report: &Report, mono_ns: u64, zone: &TimeZone) -> String {
    let time = report.clock.time(mono_ns);
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2026-11-22T16:05:09Z`
pub fn iso(report: &Report, mono_ns: u64) -> String {
    date(report, mono_ns, &TimeZone::UTC).replace(' ', "T") + "Z"
}

/// `UTC`, `CET +01:00`: the time zone as it is at that time.
pub fn zone_name(report: &Report, mono_ns: u64, zone: &TimeZone) -> String {
    let time = report.clock.time(mono_ns);
    let name = time.to_zoned(zone.clone()).strftime("%Z %:z").to_string();
    name.strip_suffix(" +00:00").map_or(name.clone(), str::to_owned)
}

/// `10.0.0.1 > 10.0.0.9:5432`, in full.
pub fn tuple(key: &TupleKey) -> String {
    live::tuple(key, usize::MAX)
}

/// What a process deals with, in full.
pub fn target(target: &Target) -> String {
    live::target(target, usize::MAX)
}

/// What a row is about.
pub fn name(name: &Name) -> String {
    match name {
        Name::Process { comm, .. } | Name::Comm(comm) => process_name(comm).into_owned(),
        Name::Unknown => "unknown".to_owned(),
        Name::Peer(address) => address.to_string(),
        Name::Tuple(key) => tuple(key),
        Name::Port(PortKey { sport, .. }) => format!(":{sport}"),
        Name::Container(Some(container)) => printable(container).into_owned(),
        Name::Container(None) => "host".to_owned(),
        Name::Netns(inode, None) => inode.to_string(),
        Name::Netns(inode, Some(name)) => format!("{inode} {}", printable(name)),
        Name::Reason(reason) => reason.word().to_owned(),
        Name::Host { label, .. } => printable(label).into_owned(),
        Name::Others => "(others)".to_owned(),
    }
}

fn milliseconds(ms: u64) -> String {
    short_time(ms.saturating_mul(1000))
}

fn size(count: u64) -> String {
    bytes(count).replace(' ', "")
}

/// What was recorded, as flags: everything, where there are none. Hostile until escaped.
pub fn recorded_with(report: &Report) -> Vec<String> {
    by_name(report.head.flags(), names(&report.head, &report.met, report.tail.as_ref()))
}

/// What one of several machines recorded, in the same way.
pub fn host_recorded_with(host: &Host) -> Vec<String> {
    by_name(host.head.flags(), names(&host.head, &[], host.tail.as_ref()))
}

/// What of it is shown, in the same way.
fn shown_with(report: &Report) -> Vec<String> {
    by_name(report.filters.iter().cloned(), names(&report.head, &report.met, report.tail.as_ref()))
}

/// What network namespaces are called, by their inodes; of several names the one that was told first.
fn names(head: &Head, met: &[Namespace], tail: Option<&Tail>) -> impl Fn(u32) -> Option<String> {
    let last = tail.into_iter().flat_map(|tail| &tail.namespaces);
    let mut names = HashMap::new();
    for namespace in head.namespaces.iter().chain(met).chain(last) {
        if let Some(name) = &namespace.name {
            names.entry(namespace.netns).or_insert_with(|| name.clone());
        }
    }
    move |inode| names.get(&inode).cloned()
}
