//! Owns: facts as a live view has them: the last ten seconds, of failures the last minute, of whatever tables its snapshot has.
//! Must not know: where its events came from.

use std::collections::HashMap;

use super::count::named;
use super::samples::Sample;
use super::{BindFailure, Facts, Netns, Process, Settings, Share, Source, Tuple};
use crate::engine::{
    Capacity, FAILING_S, Figures, NetnsRow, PortKey, ProcessKey, ShareRow, Snapshot, TupleRow,
};
use crate::model::ordering::Ordered as _;

/// What a live view calls now, in full seconds: those of the rates that it has.
const NOW_S: u64 = 10;

/// What a live view knows of now, in whatever tables its snapshot has. Cheap: nothing is asked of the
/// kernel, and no table is built.
pub fn of_snapshot(snapshot: &Snapshot) -> Facts {
    let traced_s = snapshot.now_ns.saturating_sub(snapshot.began_ns) / 1_000_000_000;
    // Rates of a trace that is younger are over the seconds that there are.
    let now_s = traced_s.clamp(1, NOW_S);
    let mut facts = Facts {
        source: Source::View,
        observed_ms: now_s * 1000,
        failures_ms: Some((traced_s + 1).min(FAILING_S.into()) * 1000),
        lost: snapshot.total.counts.loss.events(),
        ..Facts::default()
    };
    let hottest = snapshot.hottest.as_ref().filter(|_| snapshot.tuples.is_empty());
    let mut namespaces: HashMap<u32, Netns> = HashMap::new();
    for row in &snapshot.netns {
        let mut netns = namespace(row);
        netns.created = recent(row.figures.created_rate.s10, now_s);
        netns.overflow = row.refused;
        namespaces.insert(row.key, netns);
    }
    // Of the others there may be thousands.
    for row in snapshot.tuples.iter().filter(|row| row.may_press()).chain(hottest) {
        let mut tuple = tuple(row, shares(row));
        let hidden = Share { time_wait: row.hidden.into(), ..Share::default() };
        tuple.shares.extend((row.hidden != 0).then_some(hidden));
        tuple.created = recent(row.figures.created_rate.s10, now_s);
        tuple.ended = recent(row.figures.ended_rate.s10, now_s);
        // The fullest there ever was may be long ago: what held ports when the last call failed is what it failed for.
        let then = row.figures.wanted_held;
        tuple.peak = if tuple.failed != 0 && then.all() > tuple.now.all() { then } else { tuple.now };
        let fresh = || Netns { netns: row.key.netns, ..Netns::default() };
        let netns = namespaces.entry(row.key.netns).or_insert_with(fresh);
        // The pool itself says how many ports there are, where the namespace's row is not in the picture.
        netns.settings.ports = netns.settings.ports.or(row.pressure.map(|pressure| pressure.ports));
        netns.tuples.push(tuple);
    }
    for refused in &snapshot.not_bound {
        let PortKey { netns, sport, .. } = refused.key;
        let bind = |caller, failed| BindFailure { port: sport, failed, caller, ..BindFailure::default() };
        let known = refused.shares.iter().map(|share| bind(process(&share.process), share.failing));
        let rest = refused.failed.saturating_sub(refused.shares.iter().map(|share| share.failing).sum());
        let rest = (rest != 0).then(|| bind(Process::default(), rest));
        let fresh = || Netns { netns, ..Netns::default() };
        namespaces.entry(netns).or_insert_with(fresh).binds.extend(known.chain(rest));
    }
    facts.namespaces = namespaces.into_values().collect();
    facts.namespaces.order_by_key(|netns| netns.netns);
    facts.namespaces.iter_mut().for_each(|netns| super::join::settle(netns, &Sample::default()));
    facts.count_a_part(snapshot.part.clone());
    facts
}

fn namespace(row: &NetnsRow) -> Netns {
    Netns {
        netns: row.key,
        name: row.capacity.as_ref().and_then(|capacity| capacity.name.clone()),
        settings: row.capacity.as_ref().map(of_ports).unwrap_or_default(),
        time_wait: row.figures.live,
        peak_time_wait: row.figures.peak_live,
        ..Netns::default()
    }
}

/// A view speaks of what happens; whether a setting is a good one is for the doctor, who was asked.
fn of_ports(capacity: &Capacity) -> Settings {
    Settings { rfc1337: None, fin_timeout_s: None, ..capacity.settings.clone() }
}

fn tuple(row: &TupleRow, shares: Vec<Share>) -> Tuple {
    let Figures { counts, live, peak_live, .. } = &row.figures;
    let now = row.held();
    Tuple {
        shares,
        now,
        failed: row.wanted,
        ..Tuple::counted(&row.key, counts, (*live, *peak_live), now.all())
    }
}

fn process(key: &ProcessKey) -> Process {
    if key.is_unknown() { Process::default() } else { named(key) }
}

/// Who holds a pool, and who finds no port in it; what the engine could not say of a process, for want of room, is nobody's.
fn shares(row: &TupleRow) -> Vec<Share> {
    let share = |share: &ShareRow| Share {
        process: process(&share.process),
        time_wait: share.live,
        failed: share.failing,
        ..Share::default()
    };
    let sum = |of: fn(&ShareRow) -> u64| row.shares.iter().map(of).sum::<u64>();
    let rest = Share {
        time_wait: row.figures.live.saturating_sub(sum(|share| share.live)),
        failed: row.wanted.saturating_sub(sum(|share| share.failing)),
        ..Share::default()
    };
    let rest = (rest.held() + rest.failed != 0).then_some(rest);
    row.shares.iter().map(share).chain(rest).collect()
}

fn recent(rate: f64, seconds: u64) -> u64 {
    (rate * seconds as f64).round() as u64
}

#[cfg(test)]
mod tests;
