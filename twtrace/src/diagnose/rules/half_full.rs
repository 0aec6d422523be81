//! Owns: the rule for pools that are more than half full, where connect() slows down though no call fails.
//! Must not know: where facts come from, how findings are shown.
//!
//! connect() tries ports of one parity first. Once those are gone, each call walks past all of them before it tries the others
//! (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3): measured at 20,000 ports, 15 us became 524 us.

use super::{SOCK_DIAG, about};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::Pool;
use crate::diagnose::remedies;
use crate::diagnose::words::{count, end, grouped, held_ports, short_time};

/// Where times come from.
const TIMED: &str = "inet_hash_connect(), entry to exit";
const UNTIMED: &str = "only fentry and kprobes time calls, and only for a doctor that looks on";
/// Of fewer ports the walk is short.
const MANY: u32 = 1000;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let observed_s = facts.observed_s();
    let all = facts
        .namespaces
        .iter()
        .flat_map(move |netns| netns.tuples.iter().map(move |tuple| Pool { netns, tuple, observed_s }));
    // What has a finding already, or gives its ports back in time, is told otherwise or not at all.
    let is_slow = |pool: &Pool<'_>| {
        let ports = pool.ports().unwrap_or(0);
        ports >= MANY && pool.taken(pool.tuple.now) * 2 >= ports && pool.cause().is_none()
    };
    all.filter(is_slow).map(|pool| finding(&pool)).collect()
}

fn finding(pool: &Pool<'_>) -> Finding {
    let (tuple, ports) = (pool.tuple, pool.ports().unwrap_or(0));
    let times = pool.netns.connect_times;
    let took = times.map_or_else(String::new, |times| {
        format!(
            " In this namespace it looked for a port {} or less in half of {}, {} in the slowest hundredth.",
            short_time(times.p50_us),
            count(times.calls, "call"),
            short_time(times.p99_us)
        )
    });
    let what = format!(
        "{} of {} ports to {} are in use, by {}: all ports of one parity are gone, and each connect() walks past them before it \
         finds one. No call fails.{took}",
        grouped(tuple.now.all().into()),
        grouped(ports.into()),
        end(tuple.daddr, tuple.dport),
        held_ports(tuple),
    );
    let finding = Finding::new("range_half_full", Severity::Notice, what)
        .at(about(pool))
        .because("ports that connect() can choose from", ports, super::RANGE)
        .because("ports in use now", tuple.now.all(), SOCK_DIAG);
    let finding = match times {
        Some(times) => finding
            .because("connect() calls of this namespace that were timed", times.calls, TIMED)
            .because("half of them looked for a port at most so long, us", times.p50_us, TIMED)
            .because("99 % of them, us", times.p99_us, TIMED),
        None => finding.because("time that a connect() takes", "not measured", UNTIMED),
    };
    finding.by(tuple.shares.clone()).remedied(remedies::of_half_full(pool)).in_short(&format!(
        "uses {} of {} ports to {}: each connect() searches longer",
        grouped(tuple.now.all().into()),
        grouped(ports.into()),
        end(tuple.daddr, tuple.dport)
    ))
}
