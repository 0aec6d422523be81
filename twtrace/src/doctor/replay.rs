//! Owns: facts from a recording.
//! Must not know: rules.
//!
//! A recording has no lists of sockets that are open: where a rule would need them, it says that it does not know.

use std::collections::HashMap;

use super::facts::looks::Look;
use super::facts::tally::Tally;
use super::facts::{Facts, Netns, Settings, Source, join, world};
use crate::event::Kind;
use crate::filter::{Failures, Filter};
use crate::limitation::Limitations;
use crate::live::capacity;
use crate::net::sysctls::Sysctls;
use crate::recording::{Ended, Head, Namespace, Recording};
use crate::tracker::{Capacity, Tracker};

/// Reads a recording to its end; says how many of its events pass the filter, whatever the role, `lost` left out.
pub fn read(mut recording: Recording, filter: &Filter, nat_ports: Option<u32>) -> (Facts, u64) {
    let mut world = Tracker::new();
    let mut tally = Tally::default();
    let head = recording.head().clone();
    world.advance(head.mono_ns);
    world.set_capacities(capacities(&head.namespaces));
    world.seed(recording.seeds().iter().cloned());
    let (mut last_ns, mut passed) = (head.mono_ns, 0);
    // A failure has no role: which roles are wanted decides what is spoken of.
    let looked_at = Filter { roles: Vec::new(), failures: Failures::All, ..filter.clone() };
    for mut event in recording.events() {
        last_ns = last_ns.max(event.mono_ns);
        world.apply(&mut event);
        if looked_at.is_empty() || looked_at.passes(&event) {
            passed += u64::from(event.kind != Kind::Lost);
            tally.take(&event);
        }
    }
    let met = recording.met().to_vec();
    world.set_capacities(capacities(&met));
    let lost = world.total().loss.events();
    let ended = recording.end();
    last_ns = ended.tail().map_or(last_ns, |tail| last_ns.max(tail.mono_ns));
    world.advance(last_ns);
    let told = Told { head: &head, met: &met, ended: &ended, last_ns, lost, tally: &tally };
    let mut facts = Facts { nat_ports, ..told.complete(world::of_world(&world, &tally)) };
    super::scope::keep(&mut facts, filter);
    (facts, passed)
}

/// What a recording says besides its events.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// From its start.
    pub head: &'a Head,
    /// Of namespaces that were met in between.
    pub met: &'a [Namespace],
    /// Of its end.
    pub ended: &'a Ended,
    /// CLOCK_MONOTONIC at its end in nanoseconds.
    pub last_ns: u64,
    /// Events that were lost.
    pub lost: u64,
    /// What was counted in its events beyond that.
    pub tally: &'a Tally,
}

impl Told<'_> {
    /// Facts, from what its events told of each namespace.
    pub fn complete(&self, mut namespaces: Vec<Netns>) -> Facts {
        let mut unknown = vec![
            "ports of open and bound connections: a recording has TIME_WAIT sockets only".to_owned(),
            "addresses of the machine, and timestamps of its connections".to_owned(),
        ];
        match self.ended {
            Ended::Complete(_) => {}
            Ended::Missing { why } => unknown.push(format!("the end of the recording: {why}")),
            Ended::Damaged { why, .. } => unknown.push(format!("a part of the recording: {why}")),
        }
        let at_end = self.ended.tail().map(|tail| tail.limitations.as_slice()).unwrap_or_default();
        let limitations: Limitations = self.head.limitations.iter().chain(at_end).cloned().collect();
        let known = by_inode(self.head.namespaces.iter().chain(self.met));
        let last = by_inode(self.ended.tail().into_iter().flat_map(|tail| &tail.namespaces));
        for netns in &mut namespaces {
            complete(netns, &known, &last);
            self.tally.tell(netns, None);
        }
        namespaces.sort_by_key(|netns| netns.netns);
        Facts {
            source: Source::Recording,
            observed_ms: self.last_ns.saturating_sub(self.head.mono_ns) / 1_000_000,
            backend: self.head.backend.clone(),
            lost: self.lost,
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

fn capacities(told: &[Namespace]) -> impl Iterator<Item = (u32, Capacity)> {
    told.iter().filter_map(|known| Some((known.netns, capacity(&sysctls(known)?))))
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
    join::settle(netns, &Look::default());
}
