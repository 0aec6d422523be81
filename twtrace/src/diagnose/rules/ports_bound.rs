//! Owns: the rule for ports that bind() has closed to every connect().
//! Must not know: where facts come from, how findings are shown.
//!
//! connect() shares a port among destinations only if it chose it itself: it passes by every port that came from bind() or listen(),
//! TIME_WAIT or not (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3: `tb->fastreuse >= 0`).

use super::{EVENTS, SOCK_DIAG, about, pools, severity, with_ports};
use crate::diagnose::facts::{Facts, Share};
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Pool, Strain};
use crate::diagnose::words::{count, end, grouped, holders, out_of};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(pool, cause)| {
        // Where bind() itself fails for want of a port, that is what there is to say.
        let is_told =
            pool.strain() != Strain::Failing && pool.netns.binds.iter().any(|bind| bind.is_for_any());
        *cause == Cause::Bound && !is_told
    });
    found.map(|(pool, _)| finding(&pool)).collect()
}

fn finding(pool: &Pool<'_>) -> Finding {
    let (tuple, netns) = (pool.tuple, pool.netns);
    let (pins, closed) = (netns.pinned.unwrap_or(0), pool.closed());
    let fails = match pool.strain() {
        Strain::Failing => format!("fails ({})", count(tuple.failed, "failure")),
        _ => "is about to fail".to_owned(),
    };
    let around: &[Share] = tuple.around.as_ref().map_or(&[], |around| &around.shares);
    let pinning = netns.pins.as_slice();
    let who = if pins > closed { pinning } else { around };
    let what = format!(
        "connect() to {} {fails}: {} of {} ports are bound, which closes them to every connect() that is to choose one; \
         held by {}. Of its own it has {}.",
        end(tuple.daddr, tuple.dport),
        grouped(u64::from(pins + closed)),
        out_of(pool.ports()),
        holders(who, |share| share.time_wait + share.open, 0),
        grouped(tuple.peak.all().into()),
    );
    let known = tuple.around.as_ref().map_or(0, |around| around.bound);
    let how = match known {
        0 if closed != 0 => {
            "inferred: connect() shares ports that it chose itself, and found none of these free"
        }
        _ => EVENTS,
    };
    let callers = tuple.shares.iter().filter(|share| share.failed != 0);
    let owners = who.iter().chain(callers).cloned().collect();
    with_ports(Finding::new("ports_bound", severity(pool), what).at(about(pool)), pool)
        .because("ports that bind() took, in TIME_WAIT or on connections to elsewhere", closed, how)
        .because("ports that bind() took, on listeners and sockets without a connection", pins, SOCK_DIAG)
        .by(owners)
        .remedied(remedies::of_bound_ports(pool, closed, pins))
        .but_not(folklore::of_bound_source())
        .in_short(&format!(
            "{} connect to {}: {} of {} ports are bound",
            if tuple.failed == 0 { "is about to fail to" } else { "cannot" },
            end(tuple.daddr, tuple.dport),
            grouped(u64::from(pins + closed)),
            out_of(pool.ports()),
        ))
}
