//! Owns: facts from a recording.
//! Must not know: rules.
//!
//! A recording has no lists of sockets that are open: where a rule would need them, it says that it does not know.

use super::facts::looks::Look;
use super::facts::tally::Tally;
use super::facts::{Facts, Netns, Settings, Source, join, world};
use crate::filter::Filter;
use crate::live::capacity;
use crate::net::sysctls::Sysctls;
use crate::recording::{Ended, Namespace, Recording};
use crate::tracker::Tracker;

/// Reads a recording to its end.
pub fn read(mut recording: Recording, filter: &Filter, nat_ports: Option<u32>) -> Facts {
    let mut world = Tracker::new();
    let mut tally = Tally::default();
    let head = recording.head().clone();
    world.advance(head.mono_ns);
    head.namespaces.iter().for_each(|known| set_capacity(&mut world, known));
    world.seed(recording.seeds().iter().cloned());
    let mut last_ns = head.mono_ns;
    // A failure has no role: which roles are wanted decides what is spoken of.
    let looked_at = Filter { roles: Vec::new(), ..filter.clone() };
    for mut event in recording.events() {
        last_ns = last_ns.max(event.mono_ns);
        world.apply(&mut event);
        if looked_at.is_empty() || looked_at.passes(&event) {
            tally.take(&event);
        }
    }
    let mut known = head.namespaces;
    for met in recording.met() {
        set_capacity(&mut world, met);
        known.push(met.clone());
    }
    let mut unknown = vec![
        "ports of open and bound connections: a recording has TIME_WAIT sockets only".to_owned(),
        "addresses of the machine, and timestamps of its connections".to_owned(),
    ];
    let lost = world.total().loss.events();
    let ended = recording.end();
    match &ended {
        Ended::Complete(tail) => last_ns = last_ns.max(tail.mono_ns),
        Ended::Missing { why } => unknown.push(format!("the end of the recording: {why}")),
    }
    world.advance(last_ns);
    let last = ended.tail().map(|tail| tail.namespaces.as_slice()).unwrap_or_default();
    let mut namespaces = world::of_world(&world, &tally);
    namespaces.iter_mut().for_each(|netns| complete(netns, &known, last));
    namespaces.sort_by_key(|netns| netns.netns);
    let mut facts = Facts {
        source: Source::Recording,
        observed_ms: last_ns.saturating_sub(head.mono_ns) / 1_000_000,
        backend: head.backend,
        lost,
        nat_ports,
        namespaces,
        unknown,
        ..Facts::default()
    };
    super::scope::keep(&mut facts, filter);
    facts
}

fn sysctls(known: &Namespace) -> Option<Sysctls> {
    known.sysctls.as_ref().and_then(|settings| Sysctls::try_from(settings).ok())
}

fn set_capacity(world: &mut Tracker, known: &Namespace) {
    if let Some(sysctls) = sysctls(known) {
        world.set_capacity(known.netns, capacity(&sysctls));
    }
}

/// Adds what the recording says of a namespace: settings of the start, counters of both ends.
fn complete(netns: &mut Netns, first: &[Namespace], last: &[Namespace]) {
    let of = |all: &[Namespace]| all.iter().find(|known| known.netns == netns.netns).cloned();
    let (first, last) = (of(first), of(last));
    let overflow = |known: &Option<Namespace>| Some(known.as_ref()?.counters?.tw_overflow);
    if let Some((before, after)) = overflow(&first).zip(overflow(&last)) {
        netns.overflow = netns.overflow.max(after.saturating_sub(before));
    }
    netns.name = first.as_ref().and_then(|known| known.name.clone());
    if let Some(sysctls) = first.as_ref().and_then(sysctls) {
        netns.settings = Settings::of(&sysctls);
    }
    join::settle(netns, &Look::default());
}
