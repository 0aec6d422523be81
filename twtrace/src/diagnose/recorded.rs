//! Owns: facts from what was counted in a recording and what it says besides.
//! Must not know: rules, how recordings are read.
//!
//! A recording has what the kernel's lists showed while it was made, unless it was cut off or is an old one: where a rule would need them
//! then, it says that it does not know.

use std::collections::HashMap;

use super::facts::samples::Sample;
use super::facts::together::Together;
use super::facts::{self, Facts, Netns, Settings, Source, join};
use crate::engine::Engine;
use crate::model::limitation::Limitations;
use crate::model::ordering::Ordered as _;
use crate::recording::{Ended, Head, Namespace};

/// What a recording says of its filters where failures for whatever reason were recorded.
const FAILURES_ALL: &str = "--failures all";

/// What is not known where there are no lists.
const UNLISTED: [&str; 3] = [
    "ports of open and bound connections: this recording has TIME_WAIT sockets only",
    "addresses of the machine, and timestamps of its connections",
    "which TIME_WAIT sockets still wait in FIN_WAIT2 for their peer's FIN",
];

/// A recording that was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded<'a> {
    /// From its start.
    pub(crate) head: &'a Head,
    /// Of namespaces that were met in between.
    pub(crate) met: &'a [Namespace],
    /// Of its end.
    pub(crate) ended: &'a Ended,
    /// How long something was recorded, in nanoseconds.
    pub(crate) observed_ns: u64,
    /// What the lists of all its files showed.
    pub(crate) seen: &'a Together,
    /// What was counted.
    pub(crate) engine: &'a Engine,
}

impl Recorded<'_> {
    /// What the doctor's rules look at.
    pub(crate) fn facts(&self) -> Facts {
        let mut unknown = self.unknown();
        let at_end = self.ended.tail().map(|tail| tail.limitations.as_slice()).unwrap_or_default();
        let limitations: Limitations = self.head.limitations.iter().chain(at_end).cloned().collect();
        let (mut namespaces, left_out) = facts::count::namespaces(self.engine);
        if left_out != 0 {
            unknown.push(format!("{left_out} network namespaces in which less happened than in the others"));
        }
        let left_out = self.seen.namespaces.values().map(|seen| seen.samples.left_out());
        unknown.extend(facts::room::left_out(left_out));
        self.tell(&mut namespaces);
        namespaces.order_by_key(|netns| netns.netns);
        let mut facts = Facts {
            source: Source::Recording,
            observed_ms: self.observed_ns / 1_000_000,
            backend: self.head.backend.clone(),
            lost: self.engine.loss.events(),
            slab: self.seen.slab,
            dead_settings: self.seen.dead_settings.clone(),
            namespaces,
            unknown,
            limitations: limitations.all().to_vec(),
            ..Facts::default()
        };
        facts.count_a_part(self.head.part());
        facts
    }

    fn unknown(&self) -> Vec<String> {
        let mut unknown = Vec::new();
        let Together { recordings, listed, .. } = *self.seen;
        if listed == 0 {
            unknown.extend(UNLISTED.map(str::to_owned));
        } else if listed < recordings {
            let without = recordings - listed;
            unknown.push(format!(
                "what the kernel's lists showed in {without} of {recordings} files, which do not have them"
            ));
        }
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
        unknown
    }

    /// Says of each namespace what stands in the recording besides events.
    fn tell(&self, namespaces: &mut Vec<Netns>) {
        let known = by_inode(self.head.namespaces.iter().chain(self.met));
        let last = by_inode(self.ended.tail().into_iter().flat_map(|tail| &tail.namespaces));
        let told = facts::told::Told::of(self.engine);
        namespaces.iter_mut().for_each(|netns| complete(netns, &known, &last));
        for (inode, seen) in &self.seen.namespaces {
            join::join_all(namespaces, &seen.samples, &told);
            let joined = namespaces.iter_mut().find(|netns| netns.netns == *inode);
            joined.into_iter().for_each(|netns| netns.outside_tw_reuse = seen.outside_tw_reuse);
        }
        for netns in namespaces.iter_mut().filter(|netns| !self.seen.namespaces.contains_key(&netns.netns)) {
            join::settle(netns, &Sample::default());
            told.tell(netns, None);
        }
    }
}

/// What a namespace is said to be set to.
pub(crate) fn settings_of(known: &Namespace) -> Option<Settings> {
    known.sysctls.clone().and_then(Settings::counted)
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
    if let Some(settings) = first.and_then(settings_of) {
        netns.settings = settings;
    }
}
