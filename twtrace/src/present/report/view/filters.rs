//! Owns: the filters of a report as people know them: network namespaces have the names that the recording knows.
//! Must not know: how lines are laid out.

use std::collections::HashMap;

use crate::model::filter::by_name;
use crate::present::report::model::{Host, Report};
use crate::recording::{Head, Namespace, Tail};

/// What was recorded, as flags: everything, where there are none. Hostile until escaped.
pub fn recorded_with(report: &Report) -> Vec<String> {
    by_name(report.head.flags(), names(&report.head, &report.met, report.tail.as_ref()))
}

/// What one of several machines recorded, in the same way.
pub fn host_recorded_with(host: &Host) -> Vec<String> {
    by_name(host.head.flags(), names(&host.head, &[], host.tail.as_ref()))
}

/// What of it is shown, in the same way.
pub(super) fn shown_with(report: &Report) -> Vec<String> {
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
