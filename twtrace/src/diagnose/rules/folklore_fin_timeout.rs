//! Owns: the rule for `tcp_fin_timeout` lowered to cure TIME_WAIT.
//! Must not know: where facts come from, how findings are shown.

use std::collections::HashSet;

use super::{pools, within};
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::Cause;
use crate::diagnose::remedies;

/// What the kernel sets (`TCP_FIN_TIMEOUT`, include/net/tcp.h, 5.10 to 7.3), in seconds.
const DEFAULT_S: u32 = 60;
/// Where so many orphans wait for their peer's FIN, the setting has a purpose.
const PURPOSE: u64 = 100;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let half_closed: HashSet<u32> = pools(facts)
        .filter(|(_, cause)| *cause == Cause::HalfClosed)
        .map(|(pool, _)| pool.netns.netns)
        .collect();
    let found = facts.namespaces.iter().filter_map(|netns| {
        let set = netns.settings.fin_timeout_s.filter(|set| *set < DEFAULT_S)?;
        // Unless orphans wait in FIN_WAIT2, which is what it is for; and where nothing waits, nobody hopes for it.
        let is_hoped_for = netns.created != 0 || netns.time_wait != 0;
        // As many as there would be without it.
        let has_purpose = netns.fin_wait2.is_none_or(|waiting| {
            let waiting = waiting * u64::from(DEFAULT_S) / u64::from(set.max(1));
            waiting >= PURPOSE || waiting * 5 >= netns.time_wait.max(1)
        });
        let is_told = half_closed.contains(&netns.netns);
        (is_hoped_for && !has_purpose && !is_told).then(|| finding(netns, set))
    });
    found.collect()
}

fn finding(netns: &Netns, set: u32) -> Finding {
    let what = format!(
        "tcp_fin_timeout is {set} s: that does not shorten TIME_WAIT, whose 60 s are compiled into the kernel."
    );
    Finding::new("folklore_fin_timeout", Severity::Notice, what)
        .at(within(netns))
        .because("tcp_fin_timeout, s", set, "sysctl net.ipv4.tcp_fin_timeout")
        .because("the kernel's own value, s", DEFAULT_S, "TCP_FIN_TIMEOUT, include/net/tcp.h")
        .because("TIME_WAIT sockets", netns.time_wait, "sock_diag")
        .because_known("of those, in FIN_WAIT2, which it is for", netns.fin_wait2, "sock_diag")
        .remedied([remedies::restore_fin_timeout(netns, set)])
        .in_short_alone(format!("tcp_fin_timeout is {set} s, which does not shorten TIME_WAIT"))
}
