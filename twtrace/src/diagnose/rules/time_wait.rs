//! Owns: the rules for pools whose ports TIME_WAIT sockets hold: `ports_exhausted`, `ports_running_out`, `reuse_cannot_work` and
//! `loopback_backend`.
//! Must not know: where facts come from, how findings are shown.

use super::{COMPUTED, Case, cannot, fails, of_pool};
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Pool, WhyNot};
use crate::diagnose::words::{
    grouped, held_ports, held_time_wait, made_time_wait, number, out_of, peer, span,
};
use crate::diagnose::{folklore, predict, remedies};

/// A pool whose ports are all in TIME_WAIT, so that connect() fails.
pub(super) fn ports_exhausted(case: &Case<'_>) -> Vec<Finding> {
    case.pools_with(Cause::Exhausted).map(of_exhausted).collect()
}

fn of_exhausted(pool: &Pool<'_>) -> Finding {
    let (tuple, to) = (pool.tuple, peer(pool.tuple));
    let held = format!("{} of {}", grouped(tuple.peak.time_wait.into()), out_of(pool.ports()));
    let what = format!(
        "connect() to {to} {}: {held} ports are in TIME_WAIT, by {}.",
        fails(pool),
        held_time_wait(tuple)
    );
    of_pool("ports_exhausted", pool, what)
        .by(tuple.shares.clone())
        .remedied(remedies::of_client(pool))
        .but_not(folklore::of_client())
        .in_short(&format!("cannot connect to {to}: {held} ports in TIME_WAIT"))
}

/// A pool whose ports will soon all be in TIME_WAIT.
pub(super) fn ports_running_out(case: &Case<'_>) -> Vec<Finding> {
    let found = case.causes().filter_map(|(pool, cause)| match cause {
        Cause::RunningOut(full_in_s) => Some(of_running_out(pool, full_in_s)),
        _ => None,
    });
    found.collect()
}

fn of_running_out(pool: &Pool<'_>, full_in_s: Option<f64>) -> Finding {
    let (tuple, to) = (pool.tuple, peer(pool.tuple));
    let held = format!("{} of {}", grouped(tuple.now.all().into()), out_of(pool.ports()));
    let when = match full_in_s {
        Some(0.0) => "now: the next connect() fails".to_owned(),
        Some(seconds) => format!("in {} at this rate", span(seconds)),
        None if pool.netns.pools_are_parts => "at a rate that is not known as a whole".to_owned(),
        None => "soon: few are left".to_owned(),
    };
    let what = format!(
        "Ports to {to} run out {when}; {held} ports are in use, mostly in TIME_WAIT, by {}.",
        held_ports(tuple)
    );
    let mut finding = of_pool("ports_running_out", pool, what);
    if let Some(seconds) = full_in_s {
        finding = finding.because("seconds until none is left", seconds, COMPUTED);
    }
    let soon = full_in_s.map_or("soon".to_owned(), |seconds| format!("in {}", span(seconds)));
    finding
        .by(tuple.shares.clone())
        .remedied(remedies::of_client(pool))
        .but_not(folklore::of_client())
        .in_short(&format!("runs out of ports to {to} {soon}: {held} in use"))
}

/// A pool that runs out although `tcp_tw_reuse` is set, because it cannot work there.
pub(super) fn reuse_cannot_work(case: &Case<'_>) -> Vec<Finding> {
    let found = case.causes().filter_map(|(pool, cause)| match cause {
        Cause::ReuseBroken(why) => Some(of_broken_reuse(pool, why)),
        _ => None,
    });
    found.collect()
}

fn of_broken_reuse(pool: &Pool<'_>, why: WhyNot) -> Finding {
    let (tuple, settings, to) = (pool.tuple, &pool.netns.settings, peer(pool.tuple));
    let reason = match why {
        WhyNot::Timestamps => "the connections have no TCP timestamps, which it needs".to_owned(),
        WhyNot::NotLoopback => format!(
            "2 means loopback, and {} is an address of this machine but no loopback address",
            tuple.daddr
        ),
        WhyNot::TooYoung => format!(
            "ports are needed again before their TIME_WAIT sockets are {} s old",
            number(pool.reuse_after_s())
        ),
    };
    let although = format!("although tcp_tw_reuse is {}", settings.tw_reuse.unwrap_or_default());
    let what = format!("connect() to {to} {} {although}: {reason}.", fails(pool));
    let mut finding = of_pool("reuse_cannot_work", pool, what).because_known(
        "connections have timestamps",
        tuple.timestamps.map(|on| if on { "yes" } else { "no" }),
        "sysctl net.ipv4.tcp_timestamps, TCP_INFO",
    );
    if why == WhyNot::TooYoung {
        const AGE: &str = "reuse from this age on, ms";
        finding = match settings.tw_reuse_delay_ms {
            Some(ms) => finding.because(AGE, ms, "sysctl net.ipv4.tcp_tw_reuse_delay"),
            None => finding.because(AGE, predict::REUSE_S * 1000.0, "fixed in this kernel"),
        };
    }
    finding
        .by(tuple.shares.clone())
        .remedied(remedies::of_broken_reuse(pool, why))
        .but_not(folklore::of_client())
        .in_short(&format!("{} connect to {to} {although}", cannot(pool)))
}

/// Many short connections within one machine: a proxy to its local backend.
pub(super) fn loopback_backend(case: &Case<'_>) -> Vec<Finding> {
    case.pools_with(Cause::LoopbackBackend).map(of_loopback_backend).collect()
}

fn of_loopback_backend(pool: &Pool<'_>) -> Finding {
    let (tuple, to, rate) = (pool.tuple, peer(pool.tuple), number(pool.rate()));
    let what = format!(
        "{} connects to {to} on this very machine {rate} times a second and closes each time: {} of {} ports are in TIME_WAIT. \
         They do not run out at this rate.",
        made_time_wait(tuple),
        grouped(tuple.now.time_wait.into()),
        grouped(pool.ports().unwrap_or(0).into()),
    );
    of_pool("loopback_backend", pool, what)
        .by(tuple.shares.clone())
        .remedied(remedies::of_loopback_backend(pool))
        .but_not(folklore::of_client())
        .in_short(&format!("connects to local {to} {rate} times a second, each time anew"))
}
