//! The same load at several sizes: more connections a second, more live sockets, more processes.
//!
//! Owns: how each size comes about. Must not know: how runs are measured.

use anyhow::Result;
use twtrace_kit::books;

use crate::bench::Bench;
use crate::generator::{First, Order, Shape};
use crate::loads::flat_out;
use crate::measure::rounds;
use crate::model::{Arm, Growth, Point, Round};
use crate::site::{self, ALL_PORTS, Generated};
use crate::stats::{Spread, values};

/// More connections a second, with every mode of twtrace.
pub(crate) fn by_rate(bench: &mut Bench) -> Result<()> {
    let mut generated = flat_out(bench, First::Server)?;
    let mut points = Vec::new();
    for rate in bench.plan.rates {
        generated.order = Order { rate, for_ms: bench.plan.rate_ms };
        let label = rate.map_or("flat out".to_owned(), grouped);
        let arms = [Arm::Untraced, Arm::Events, Arm::Live, Arm::Record];
        let rounds = compare(bench, &format!("rate-{label}"), &arms, &mut generated)?;
        let reached = Spread::of(values(&rounds, Arm::Untraced, |sample| Some(sample.speed)));
        points.push(Point { label, size: reached.map_or(0.0, |speed| speed.median), rounds });
    }
    push(bench, "rate", "connections/s", points);
    Ok(())
}

/// More sockets in TIME_WAIT, at the same rate.
pub(crate) fn by_live_sockets(bench: &mut Bench) -> Result<()> {
    let mut points = Vec::new();
    for live in bench.plan.live {
        let (targets, high) = ports_for(live);
        let netns = site::enter(ALL_PORTS.0, high)?;
        // Where the server closes first, a port can be used again at once: there are as many sockets as ports, all the time.
        let shape = Shape { first: First::Server, processes: 1, targets };
        let order = Order { rate: Some(bench.plan.steady), for_ms: bench.plan.growth_ms };
        let mut generated = Generated::start(netns, &shape, order)?;
        generated.fill(live - live / 50)?;
        let label = grouped(u32::try_from(live)?);
        let arms = [Arm::Untraced, Arm::Events, Arm::Live];
        let rounds = compare(bench, &format!("live-sockets-{label}"), &arms, &mut generated)?;
        points.push(Point { label, size: books::live("self")? as f64, rounds });
    }
    push(bench, "live-sockets", "live TIME_WAIT sockets", points);
    Ok(())
}

/// More processes that close connections, at the same rate.
pub(crate) fn by_processes(bench: &mut Bench) -> Result<()> {
    let mut points = Vec::new();
    for processes in bench.plan.processes {
        let netns = site::enter(ALL_PORTS.0, ALL_PORTS.1)?;
        let shape = Shape { first: First::Client, processes, targets: crate::loads::TARGETS };
        // Long enough for each of them to have its turn.
        let turns_ms = u64::from(processes) * 1000 / u64::from(bench.plan.steady);
        let for_ms = bench.plan.growth_ms.max(turns_ms);
        let order = Order { rate: Some(bench.plan.steady), for_ms };
        let mut generated = Generated::start(netns, &shape, order)?;
        let arms = [Arm::Untraced, Arm::Events, Arm::Live];
        let label = grouped(processes);
        let rounds = compare(bench, &format!("processes-{label}"), &arms, &mut generated)?;
        points.push(Point { label, size: processes.into(), rounds });
    }
    push(bench, "processes", "client processes", points);
    Ok(())
}

fn compare(bench: &mut Bench, name: &str, arms: &[Arm], traffic: &mut Generated) -> Result<Vec<Round>> {
    let mut arms = bench.available(arms);
    if !bench.plan.all_modes {
        arms.retain(|arm| matches!(arm, Arm::Untraced | Arm::Events));
    }
    let Bench { plan, tools, report, .. } = bench;
    rounds(&name.replace(' ', "-"), plan.rounds, &arms, tools, traffic, report)
}

fn push(bench: &mut Bench, name: &str, axis: &str, points: Vec<Point>) {
    bench.results.growth.push(Growth { name: name.to_owned(), axis: axis.to_owned(), points });
}

/// How many destinations, and up to which port, so that a client's connections go through `live` pairs of addresses and ports. Of the
/// ports a connect() takes every other one as long as it can (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10
/// to 7.3; since 4.2).
fn ports_for(live: u64) -> (u8, u16) {
    /// Pairs of a destination, at most: half of all ports.
    const MOST: u64 = 25_000;
    let targets = live.div_ceil(MOST).clamp(1, 100);
    let each = live.div_ceil(targets).min(MOST);
    (targets as u8, ALL_PORTS.0 + (2 * each - 1) as u16)
}

/// 10,000
fn grouped(number: u32) -> String {
    crate::page::text::grouped(f64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_pairs_as_sockets_asked_for() {
        for live in [100, 1000, 10_000, 25_000, 100_000] {
            let (targets, high) = ports_for(live);
            let ports = u64::from(high - ALL_PORTS.0) + 1;
            assert_eq!(u64::from(targets) * ports / 2, live);
        }
        assert_eq!(ports_for(100_000).0, 4);
    }
}
