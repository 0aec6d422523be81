//! Owns: facts from what was counted in a recording and what it says besides.
//! Must not know: rules, how recordings are read.
//!
//! A recording has no lists of sockets that are open: where a rule would need them, it says that it does not know.

use std::collections::HashMap;

use super::facts::samples::Sample;
use super::facts::{self, Facts, Netns, Settings, Source, join};
use crate::engine::Engine;
use crate::host::net::sysctls::Sysctls;
use crate::model::limitation::Limitations;
use crate::recording::{Ended, Head, Namespace};

/// What a recording says of its filters where failures for whatever reason were recorded.
const FAILURES_ALL: &str = "--failures all";

/// A recording that was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded<'a> {
    /// From its start.
    pub(crate) head: &'a Head,
    /// Of namespaces that were met in between.
    pub(crate) met: &'a [Namespace],
    /// Of its end.
    pub(crate) ended: &'a Ended,
    /// CLOCK_MONOTONIC at its end in nanoseconds.
    pub(crate) last_ns: u64,
    /// What was counted.
    pub(crate) engine: &'a Engine,
}

impl Recorded<'_> {
    /// What the doctor's rules look at.
    pub(crate) fn facts(&self) -> Facts {
        let mut unknown = vec![
            "ports of open and bound connections: a recording has TIME_WAIT sockets only".to_owned(),
            "addresses of the machine, and timestamps of its connections".to_owned(),
            "which TIME_WAIT sockets still wait in FIN_WAIT2 for their peer's FIN".to_owned(),
        ];
        if self.head.filters.iter().all(|filter| filter != FAILURES_ALL) {
            unknown.push(format!(
                "calls that failed for another reason than the want of a port: `twtrace record {FAILURES_ALL}` keeps them"
            ));
        }
        match self.ended {
            Ended::Complete(_) => {}
            Ended::Missing { why } => unknown.push(format!("the end of the recording: {why}")),
            Ended::Damaged { why, .. } => unknown.push(format!("a part of the recording: {why}")),
        }
        let at_end = self.ended.tail().map(|tail| tail.limitations.as_slice()).unwrap_or_default();
        let limitations: Limitations = self.head.limitations.iter().chain(at_end).cloned().collect();
        let known = by_inode(self.head.namespaces.iter().chain(self.met));
        let last = by_inode(self.ended.tail().into_iter().flat_map(|tail| &tail.namespaces));
        let told = facts::told::Told::of(self.engine);
        let (mut namespaces, left_out) = facts::count::namespaces(self.engine);
        if left_out != 0 {
            unknown.push(format!("{left_out} network namespaces in which less happened than in the others"));
        }
        for netns in &mut namespaces {
            complete(netns, &known, &last);
            told.tell(netns, None);
        }
        namespaces.sort_by_key(|netns| netns.netns);
        Facts {
            source: Source::Recording,
            observed_ms: self.last_ns.saturating_sub(self.head.mono_ns) / 1_000_000,
            backend: self.head.backend.clone(),
            lost: self.engine.loss.events(),
            namespaces,
            unknown,
            limitations: limitations.all().to_vec(),
            ..Facts::default()
        }
    }
}

fn sysctls(known: &Namespace) -> Option<Sysctls> {
    known.sysctls.as_ref().and_then(|settings| Sysctls::try_from(settings).ok())
}

/// What is told of namespaces; the first word counts.
type ByInode<'a> = HashMap<u32, &'a Namespace>;

fn by_inode<'a>(told: impl Iterator<Item = &'a Namespace>) -> ByInode<'a> {
    let mut all = ByInode::new();
    told.for_each(|namespace| {
        all.entry(namespace.netns).or_insert(namespace);
    });
    all
}

/// Adds what the recording says of a namespace: settings of the start, counters of both ends.
fn complete(netns: &mut Netns, first: &ByInode<'_>, last: &ByInode<'_>) {
    let (first, last) = (first.get(&netns.netns).copied(), last.get(&netns.netns).copied());
    let overflow = |known: Option<&Namespace>| Some(known?.counters?.tw_overflow);
    if let Some((before, after)) = overflow(first).zip(overflow(last)) {
        netns.overflow = netns.overflow.max(after.saturating_sub(before));
    }
    netns.name = first.and_then(|known| known.name.clone());
    if let Some(sysctls) = first.and_then(sysctls) {
        netns.settings = Settings::of(&sysctls);
    }
    join::settle(netns, &Sample::default());
}
