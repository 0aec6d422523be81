//! Owns: the rules for pools whose ports others than TIME_WAIT sockets hold: open connections (`ports_held_open`, `range_half_full`),
//! sockets that bind() gave a port (`ports_bound`), and those that may only have a part of the range (`socket_range`).
//! Must not know: where facts come from, how findings are shown.

use super::{Case, EVENTS, RANGE, SOCK_DIAG, about, cannot, fails, of_pool};
use crate::diagnose::facts::{BindFailure, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::{Cause, Open, Pool};
use crate::diagnose::range::Range;
use crate::diagnose::words::{
    count, failing, grouped, held_open, held_ports, holders, out_of, peer, short_time,
};
use crate::diagnose::{folklore, remedies};

/// A pool whose ports are held by open connections, and not by TIME_WAIT.
pub(super) fn ports_held_open(case: &Case<'_>) -> Vec<Finding> {
    let found = case.pools_with(Cause::HeldOpen(Open::Established)).filter(|pool| !is_told_of_bind(pool));
    found.map(of_open).collect()
}

/// Where bind() itself fails for want of a port, that is what there is to say of a pool for which connect() does not.
fn is_told_of_bind(pool: &Pool<'_>) -> bool {
    pool.tuple.failed == 0 && pool.netns.binds.iter().any(BindFailure::is_for_any)
}

fn of_open(pool: &Pool<'_>) -> Finding {
    let (tuple, to) = (pool.tuple, peer(pool.tuple));
    let what = format!("connect() to {to} {}, {}.", fails(pool), held(pool));
    of_pool("ports_held_open", pool, what)
        .by(tuple.shares.clone())
        .remedied(remedies::of_held_open(pool))
        .but_not(folklore::of_held_open())
        .in_short(&format!(
            "{} connect to {to}: {} of {} ports on open connections",
            cannot(pool),
            grouped(tuple.peak.open().into()),
            out_of(pool.ports())
        ))
}

/// By what. Those in TIME_WAIT are told as well: they are what people look for.
fn held(pool: &Pool<'_>) -> String {
    let tuple = pool.tuple;
    let (open, time_wait) = (grouped(tuple.peak.open().into()), grouped(tuple.peak.time_wait.into()));
    let bound = pool.netns.pinned.filter(|pinned| *pinned != 0);
    format!(
        "and not for TIME_WAIT: {open} of {} ports are on open connections{}; {time_wait} in TIME_WAIT. Held by {}",
        out_of(pool.ports()),
        bound.map(|pinned| format!(", {} on bound sockets", grouped(pinned.into()))).unwrap_or_default(),
        held_open(tuple)
    )
}

/// Ports that bind() has closed to every connect().
///
/// connect() shares a port among destinations only if it chose it itself: it passes by every port that came from bind() or listen(),
/// TIME_WAIT or not (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3: `tb->fastreuse >= 0`).
pub(super) fn ports_bound(case: &Case<'_>) -> Vec<Finding> {
    let found = case.pools_with(Cause::Bound).filter(|pool| !is_told_of_bind(pool));
    found.map(of_bound).collect()
}

fn of_bound(pool: &Pool<'_>) -> Finding {
    let (tuple, netns) = (pool.tuple, pool.netns);
    let (pins, closed) = (netns.pinned.unwrap_or(0), pool.closed());
    let around: &[Share] = tuple.around.as_ref().map_or(&[], |around| &around.shares);
    let pinning = netns.pins.as_slice();
    let who = if pins > closed { pinning } else { around };
    let what = format!(
        "connect() to {} {}: {} of {} ports are bound, which closes them to every connect() that is to choose one; \
         held by {}. Of its own it has {}.",
        peer(tuple),
        fails(pool),
        grouped(u64::from(pins + closed)),
        out_of(pool.ports()),
        holders(who, Share::held, 0),
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
    of_pool("ports_bound", pool, what)
        .because("ports that bind() took, in TIME_WAIT or on connections to elsewhere", closed, how)
        .because("ports that bind() took, on listeners and sockets without a connection", pins, SOCK_DIAG)
        .by(who.iter().chain(callers).cloned())
        .remedied(remedies::of_bound_ports(pool, closed, pins))
        .but_not(folklore::of_bound_source())
        .in_short(&format!(
            "{} connect to {}: {} of {} ports are bound",
            cannot(pool),
            peer(tuple),
            grouped(u64::from(pins + closed)),
            out_of(pool.ports()),
        ))
}

/// Sockets that may only use a part of the namespace's ports, all of which are taken.
pub(super) fn socket_range(case: &Case<'_>) -> Vec<Finding> {
    let found = case.causes().filter_map(|(pool, cause)| match cause {
        Cause::OwnRange(range) => Some(of_range(pool, range)),
        _ => None,
    });
    found.collect()
}

fn of_range(pool: &Pool<'_>, range: Range) -> Finding {
    let tuple = pool.tuple;
    let callers = tuple.callers();
    let to = peer(tuple);
    let what = format!(
        "connect() to {to} fails ({}): {}, the only {} of {} {} there, {} in use, and of the namespace's {} ports {} are. {}",
        count(tuple.failed, "failure"),
        ports(range),
        if range.ports == 1 { "one that sockets" } else { "ones that sockets" },
        failing(&callers),
        if range.is_looked_at { "may have" } else { "had" },
        if range.ports == 1 { "is" } else { "are" },
        out_of(pool.ports()),
        grouped(tuple.peak.all().into()),
        if range.is_looked_at {
            "These sockets have a range of their own (IP_LOCAL_PORT_RANGE)."
        } else {
            "So it is where sockets have a range of their own (IP_LOCAL_PORT_RANGE)."
        },
    );
    with_range(of_pool("socket_range", pool, what), pool, range)
        .by(callers)
        .remedied(remedies::of_socket_range(pool, range))
        .but_not(folklore::of_socket_range())
        .in_short(&format!(
            "cannot connect to {to}: {} that its sockets allow themselves {} in use",
            if range.ports == 1 {
                "the one port".to_owned()
            } else {
                format!("all {} ports", grouped(range.ports.into()))
            },
            if range.ports == 1 { "is" } else { "are" },
        ))
}

fn with_range(finding: Finding, pool: &Pool<'_>, range: Range) -> Finding {
    if !range.is_looked_at {
        return finding
            .because("ports in a row that the caller was on, all of them in use", range.ports, EVENTS)
            .because("the option itself", "not looked at", "inferred from the ports");
    }
    finding
        .because("ports that the sockets' own range allows", range.ports, EVENTS)
        .because("the lowest of them", u32::from(range.low), EVENTS)
        .because("the highest of them", u32::from(range.high), EVENTS)
        .because("connect() failures of sockets with that option", pool.tuple.ranged.calls, EVENTS)
}

/// `all 11 ports from 43000 to 43010`
fn ports(range: Range) -> String {
    if range.low == range.high {
        return format!("port {}", range.low);
    }
    format!("all {} ports from {} to {}", grouped(range.ports.into()), range.low, range.high)
}

/// Where times come from.
const TIMED: &str = "inet_hash_connect(), entry to exit";
const UNTIMED: &str = "only fentry and kprobes time calls, and only for a doctor that looks on";
/// Of fewer ports the walk is short.
const MANY: u32 = 1000;

/// Pools that are more than half full, where connect() slows down though no call fails.
///
/// connect() tries ports of one parity first. Once those are gone, each call walks past all of them before it tries the others
/// (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3): measured at 20,000 ports, 15 us became 524 us.
pub(super) fn range_half_full(case: &Case<'_>) -> Vec<Finding> {
    // What has a finding already, or gives its ports back in time, is told otherwise or not at all.
    let is_slow = |pool: &Pool<'_>| {
        let ports = pool.ports().unwrap_or(0);
        ports >= MANY && pool.in_use(pool.tuple.now) * 2 >= ports
    };
    let calm = case.pools.iter().filter(|(_, cause)| cause.is_none()).map(|(pool, _)| pool);
    calm.filter(|pool| is_slow(pool)).map(of_half_full).collect()
}

fn of_half_full(pool: &Pool<'_>) -> Finding {
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
        peer(tuple),
        held_ports(tuple),
    );
    let finding = Finding::new("range_half_full", Severity::Notice, what)
        .at(about(pool))
        .because("ports that connect() can choose from", ports, RANGE)
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
        peer(tuple)
    ))
}
