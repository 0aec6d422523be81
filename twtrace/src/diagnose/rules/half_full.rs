//! Owns: the rule for pools that are more than half full, where connect() slows down though no call fails.
//! Must not know: where facts come from, how findings are shown.
//!
//! connect() tries ports of one parity first. Once those are gone, each call walks past all of them before it tries the others
//! (`__inet_hash_connect`, net/ipv4/inet_hashtables.c): measured at 20,000 ports, 15 us became 524 us.

use super::{SOCK_DIAG, about};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::Pool;
use crate::diagnose::remedies;
use crate::diagnose::words::{end, grouped, held_ports};

/// The name of its finding.
pub(super) const ID: &str = "range_half_full";
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
    let what = format!(
        "{} of {} ports to {} are in use, by {}: all ports of one parity are gone, and each connect() walks past them before it \
         finds one. No call fails.",
        grouped(tuple.now.all().into()),
        grouped(ports.into()),
        end(tuple.daddr, tuple.dport),
        held_ports(tuple),
    );
    Finding::new(ID, Severity::Notice, what)
        .at(about(pool))
        .because("ports that connect() can choose from", ports, super::RANGE)
        .because("ports in use now", tuple.now.all(), SOCK_DIAG)
        .because("time that a connect() takes", "not measured", "this backend does not time calls")
        .by(tuple.shares.clone())
        .remedied(remedies::of_half_full(pool))
        .in_short(&format!(
            "uses {} of {} ports to {}: each connect() searches longer",
            grouped(tuple.now.all().into()),
            grouped(ports.into()),
            end(tuple.daddr, tuple.dport)
        ))
}
