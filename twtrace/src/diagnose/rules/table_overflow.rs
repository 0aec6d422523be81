//! Owns: the rule for connections that end without TIME_WAIT because `tcp_max_tw_buckets` refuses one.
//! Must not know: where facts come from, how findings are shown.

use super::within;
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::words::{grouped, refused_of};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = facts.namespaces.iter().filter(|netns| netns.overflow != 0);
    found.map(|netns| finding(netns, facts)).collect()
}

fn finding(netns: &Netns, facts: &Facts) -> Finding {
    let rate = netns.created as f64 / facts.observed_s() + netns.overflow as f64 / facts.failures_s();
    let rate = (!netns.is_part).then_some(rate);
    let (refused, are) =
        if netns.overflow == 1 { ("1 connection", "it was") } else { ("connections", "they were") };
    let refused = if netns.overflow == 1 {
        refused.to_owned()
    } else {
        format!("{} {refused}", grouped(netns.overflow))
    };
    let by = if netns.concerned.is_empty() {
        String::new()
    } else {
        format!(" by {}", refused_of(&netns.concerned, netns.overflow))
    };
    let full = match netns.settings.max_tw_buckets {
        Some(most) => format!("all {} of tcp_max_tw_buckets were taken", grouped(most.into())),
        None => "no room was left within tcp_max_tw_buckets".to_owned(),
    };
    let what = format!("{refused} ended without TIME_WAIT: {are} closed{by} while {full}.");
    let finding = Finding::new("table_overflow", Severity::Warning, what)
        .at(within(netns))
        .because(
            "TIME_WAIT sockets refused",
            netns.overflow,
            "events, TCPTimeWaitOverflow in /proc/net/netstat",
        )
        .because_known(
            "tcp_max_tw_buckets",
            netns.settings.max_tw_buckets,
            "sysctl net.ipv4.tcp_max_tw_buckets",
        )
        .because("TIME_WAIT sockets at the peak", netns.peak_time_wait, "sock_diag and events")
        .because_known("TIME_WAIT sockets wanted a second", rate, "events")
        .by(netns.concerned.clone())
        .remedied(remedies::of_overflow(
            netns,
            rate,
            facts.failures_s(),
            facts.slab.map_or(256, |slab| slab.object_bytes),
        ))
        .but_not(folklore::of_overflow());
    if netns.concerned.is_empty() {
        let ended = if netns.overflow == 1 { "ended" } else { "end" };
        finding.in_short_alone(format!("{refused} {ended} without TIME_WAIT: {full}"))
    } else {
        finding.in_short(&format!("closed {refused} without TIME_WAIT: {full}"))
    }
}
