//! Owns: the rule for tables of the kernel's that are nearly full: connection tracking, orphans.
//! Must not know: where facts come from, how findings are shown.

use super::within;
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::grouped;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    facts.namespaces.iter().flat_map(|netns| [of_conntrack(netns), of_orphans(netns)]).flatten().collect()
}

/// Beyond the limit new connections are dropped, `nf_conntrack: table full, dropping packet` in the log
/// (__nf_conntrack_alloc(), net/netfilter/nf_conntrack_core.c, 5.10 to 7.3).
fn of_conntrack(netns: &Netns) -> Option<Finding> {
    let conntrack = netns.conntrack?;
    if conntrack.max == 0 || conntrack.count * 10 < conntrack.max * 9 {
        return None;
    }
    let (is_full, does) = (conntrack.count >= conntrack.max, "the kernel drops what begins a new one");
    let severity = if is_full { Severity::Critical } else { Severity::Warning };
    let what = format!(
        "Connection tracking has {} of at most {} connections: {}{does}.",
        grouped(conntrack.count),
        grouped(conntrack.max),
        if is_full { "" } else { "once it is full, " },
    );
    let finding = Finding::new("conntrack_near_full", severity, what)
        .at(within(netns))
        .because("connections tracked", conntrack.count, "nf_conntrack_count")
        .because("of at most", conntrack.max, "nf_conntrack_max")
        .because_known(
            "seconds that a closed one stays",
            conntrack.time_wait_s,
            "nf_conntrack_tcp_timeout_time_wait",
        );
    let short = format!("connection tracking has {} of {}", grouped(conntrack.count), grouped(conntrack.max));
    let finding = super::with_ipvs(finding, netns);
    Some(finding.remedied([remedies::conntrack_room()]).in_short_alone(short))
}

/// Beyond it the kernel resets what is closed and not yet done (tcp_check_oom(), net/ipv4/tcp.c, 5.10 to 7.3).
fn of_orphans(netns: &Netns) -> Option<Finding> {
    let counters = netns.counters?;
    let (orphans, most) = counters.orphans.zip(counters.max_orphans)?;
    if most == 0 || orphans * 5 < most * 4 {
        return None;
    }
    let what = format!(
        "{} of at most {} orphans (tcp_max_orphans): beyond it the kernel ends closed connections with an RST.",
        grouped(orphans),
        grouped(most)
    );
    let finding = Finding::new("orphans_near_limit", Severity::Warning, what)
        .at(within(netns))
        .because("sockets that no descriptor holds, of the whole machine", orphans, "/proc/net/sockstat")
        .because("tcp_max_orphans", most, "sysctl net.ipv4.tcp_max_orphans");
    let short = format!("{} of at most {} orphans", grouped(orphans), grouped(most));
    Some(finding.remedied(remedies::of_unanswered_close()).in_short_alone(short))
}
