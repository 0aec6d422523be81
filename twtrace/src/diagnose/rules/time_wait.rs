//! Owns: the rules for pools whose ports TIME_WAIT sockets hold: `ports_exhausted`, `ports_running_out`, `reuse_cannot_work` and
//! `loopback_backend`.
//! Must not know: where facts come from, how findings are shown.

use super::{COMPUTED, about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Strain, WhyNot};
use crate::diagnose::words::{
    count, end, grouped, held_ports, held_time_wait, holders, number, out_of, span,
};
use crate::diagnose::{folklore, predict, remedies};

/// A pool whose ports are all in TIME_WAIT, so that connect() fails.
pub(super) fn ports_exhausted(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(_, cause)| *cause == Cause::Exhausted);
    found
        .map(|(pool, _)| {
            let tuple = pool.tuple;
            let what = format!(
                "connect() to {} fails ({}): {} of {} ports are in TIME_WAIT, by {}.",
                end(tuple.daddr, tuple.dport),
                count(tuple.failed, "failure"),
                grouped(tuple.peak.time_wait.into()),
                out_of(pool.ports()),
                held_time_wait(tuple),
            );
            with_ports(Finding::new("ports_exhausted", severity(&pool), what).at(about(&pool)), &pool)
                .by(tuple.shares.clone())
                .remedied(remedies::of_client(&pool))
                .but_not(folklore::of_client())
                .in_short_of(
                    &format!(
                        "cannot connect to {}: {} of {} ports in TIME_WAIT",
                        end(tuple.daddr, tuple.dport),
                        grouped(tuple.peak.time_wait.into()),
                        out_of(pool.ports())
                    ),
                    tuple.more_callers,
                )
        })
        .collect()
}

/// A pool whose ports will soon all be in TIME_WAIT.
pub(super) fn ports_running_out(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter_map(|(pool, cause)| match cause {
        Cause::RunningOut(full_in_s) => Some((pool, full_in_s)),
        _ => None,
    });
    found
        .map(|(pool, full_in_s)| {
            let tuple = pool.tuple;
            let when = match full_in_s {
                Some(0.0) => "now: the next connect() fails".to_owned(),
                Some(seconds) => format!("in {} at this rate", span(seconds)),
                None if pool.netns.pools_are_parts => "at a rate that is not known as a whole".to_owned(),
                None => "soon: few are left".to_owned(),
            };
            let what = format!(
                "Ports to {} run out {when}; {} of {} ports are in use, mostly in TIME_WAIT, by {}.",
                end(tuple.daddr, tuple.dport),
                grouped(tuple.now.all().into()),
                out_of(pool.ports()),
                held_ports(tuple),
            );
            let finding =
                with_ports(Finding::new("ports_running_out", severity(&pool), what).at(about(&pool)), &pool);
            let finding = match full_in_s {
                Some(seconds) => finding.because("seconds until none is left", seconds, COMPUTED),
                None => finding,
            };
            finding
                .by(tuple.shares.clone())
                .remedied(remedies::of_client(&pool))
                .but_not(folklore::of_client())
                .in_short(&format!(
                    "runs out of ports to {} {}: {} of {} in use",
                    end(tuple.daddr, tuple.dport),
                    full_in_s.map_or("soon".to_owned(), |seconds| format!("in {}", span(seconds))),
                    grouped(tuple.now.all().into()),
                    out_of(pool.ports())
                ))
        })
        .collect()
}

/// A pool that runs out although `tcp_tw_reuse` is set, because it cannot work there.
pub(super) fn reuse_cannot_work(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter_map(|(pool, cause)| match cause {
        Cause::ReuseBroken(why) => Some((pool, why)),
        _ => None,
    });
    found
        .map(|(pool, why)| {
            let (tuple, setting) = (pool.tuple, pool.netns.settings.tw_reuse.unwrap_or_default());
            let state = match pool.strain() {
                Strain::Failing => format!("fails ({})", count(tuple.failed, "failure")),
                _ => "is about to fail".to_owned(),
            };
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
            let what = format!(
                "connect() to {} {state} although tcp_tw_reuse is {setting}: {reason}.",
                end(tuple.daddr, tuple.dport)
            );
            let timestamps = tuple.timestamps.map(|on| if on { "yes" } else { "no" });
            let delay = pool.netns.settings.tw_reuse_delay_ms;
            let finding =
                with_ports(Finding::new("reuse_cannot_work", severity(&pool), what).at(about(&pool)), &pool)
                    .because_known(
                        "connections have timestamps",
                        timestamps,
                        "sysctl net.ipv4.tcp_timestamps, TCP_INFO",
                    );
            let finding = match (why, delay) {
                (WhyNot::TooYoung, Some(ms)) => {
                    finding.because("reuse from this age on, ms", ms, "sysctl net.ipv4.tcp_tw_reuse_delay")
                }
                (WhyNot::TooYoung, None) => finding.because(
                    "reuse from this age on, ms",
                    predict::REUSE_S * 1000.0,
                    "fixed in this kernel",
                ),
                _ => finding,
            };
            finding
                .by(tuple.shares.clone())
                .remedied(remedies::of_broken_reuse(&pool, why))
                .but_not(folklore::of_client())
                .in_short(&format!(
                    "{} connect to {} although tcp_tw_reuse is {setting}",
                    if tuple.failed == 0 { "is about to fail to" } else { "cannot" },
                    end(tuple.daddr, tuple.dport)
                ))
        })
        .collect()
}

/// Many short connections within one machine: a proxy to its local backend.
pub(super) fn loopback_backend(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(_, cause)| *cause == Cause::LocalBackend);
    found
        .map(|(pool, _)| {
            let tuple = pool.tuple;
            let what = format!(
                "{} connects to {} on this very machine {} times a second and closes each time: {} of {} ports are \
                 in TIME_WAIT. They do not run out at this rate.",
                holders(&tuple.shares, |share| share.created, 0),
                end(tuple.daddr, tuple.dport),
                number(pool.rate()),
                grouped(tuple.now.time_wait.into()),
                grouped(pool.ports().unwrap_or(0).into()),
            );
            with_ports(Finding::new("loopback_backend", severity(&pool), what).at(about(&pool)), &pool)
                .by(tuple.shares.clone())
                .remedied(remedies::of_local_backend(&pool))
                .but_not(folklore::of_client())
                .in_short(&format!(
                    "connects to local {} {} times a second, each time anew",
                    end(tuple.daddr, tuple.dport),
                    number(pool.rate())
                ))
        })
        .collect()
}
