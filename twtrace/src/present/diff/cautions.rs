//! Owns: what keeps two recordings from being compared without a second thought: they were not made alike, or one is not whole; or what got
//! better in the one may only look so.
//! Must not know: where the words go.

use std::collections::BTreeSet;

use super::{Comparison, Pair};
use crate::model::escape::printable;
use crate::model::figures::rate;
use crate::present::report::model::Report;
use crate::present::report::view;

impl Comparison<'_> {
    /// In words for a user, the gravest first.
    pub fn cautions(&self) -> Vec<String> {
        let reports = [("old", self.old), ("new", self.new)].into_iter();
        let of_each = reports.flat_map(|(label, report)| not_whole(label, report));
        of_each.chain(self.of_both()).collect()
    }

    /// Those that are about neither of the two alone.
    pub(super) fn of_both(&self) -> impl Iterator<Item = String> {
        [self.filters(), self.backends(), self.aborts()].into_iter().flatten()
    }

    fn filters(&self) -> Option<String> {
        let (old, new) = (recorded(self.old), recorded(self.new));
        (comparable(&old) != comparable(&new)).then(|| {
            let said = |flags: &BTreeSet<String>| match flags.is_empty() {
                true => "none".to_owned(),
                false => printable(&flags.iter().cloned().collect::<Vec<_>>().join(" ")).into_owned(),
            };
            format!(
                "recorded with different filters: the old one with {}, the new one with {}: what differs may be what was left out; give \
                 `diff` filters that leave the same of both",
                said(&old),
                said(&new)
            )
        })
    }

    fn backends(&self) -> Option<String> {
        let (old, new) = (&self.old.head.backend, &self.new.head.backend);
        (old != new && !old.is_empty() && !new.is_empty()).then(|| {
            format!(
                "recorded with different backends, {} and {}: not every failure, and not every reason of an end, is seen by each; \
                 `record --backend` says which is used",
                printable(old),
                printable(new)
            )
        })
    }

    fn aborts(&self) -> Option<String> {
        let grown = |name: &str| {
            let pair = self.totals.iter().find(|(metric, _)| metric.name == name).map(|(_, pair)| pair);
            pair.and_then(Pair::change).unwrap_or(0.0)
        };
        let (created, aborted) = (grown("created/s"), grown("aborted/s"));
        (created < 0.0 && aborted > 0.0).then(|| {
            let (less, more) = (rate(-created), rate(aborted));
            format!(
                "created fell by {less}/s while aborted rose by {more}/s: connections that end with an RST leave no TIME_WAIT \
                 socket, and may lose data; ask for that with --fail-if 'aborted/s > +0'"
            )
        })
    }
}

/// The flags by which events were left out, of any machine.
fn recorded(report: &Report) -> BTreeSet<String> {
    let of_hosts = report.hosts.iter().flat_map(view::host_recorded_with);
    view::recorded_with(report).into_iter().chain(of_hosts).collect()
}

/// Of namespaces without a name, how many there are: each run of a container has another inode.
fn comparable(flags: &BTreeSet<String>) -> Vec<&str> {
    let is_inode = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let of = |flag| match str::strip_prefix(flag, "--netns ") {
        Some(name) if is_inode(name) => "--netns",
        _ => flag,
    };
    let mut all: Vec<&str> = flags.iter().map(String::as_str).map(of).collect();
    all.sort_unstable();
    all
}

fn not_whole(label: &str, report: &Report) -> Vec<String> {
    let missing = report.missing.as_deref().map(|why| {
        format!(
            "the end of the {label} recording is missing ({}): its counts and rates are those up to its last complete batch",
            printable(why)
        )
    });
    let damaged = report.damaged.as_deref().map(|why| {
        format!(
            "the {label} recording is damaged ({}): its counts and rates lack what was left out",
            printable(why)
        )
    });
    missing.into_iter().chain(damaged).collect()
}
