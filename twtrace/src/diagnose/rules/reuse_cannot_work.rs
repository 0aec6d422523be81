//! Owns: the rule for a pool that runs out although `tcp_tw_reuse` is set, because it cannot work there.
//! Must not know: where facts come from, how findings are shown.

use super::{about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Strain, WhyNot};
use crate::diagnose::words::{count, end, number};
use crate::diagnose::{folklore, predict, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
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
