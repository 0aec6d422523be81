//! Owns: the rules for settings that are to cure TIME_WAIT and do not: `tcp_fin_timeout` lowered, `tcp_max_tw_buckets` lowered below what
//! the kernel chose, and `tcp_tw_recycle`, which no kernel since 4.12 has.
//! Must not know: where facts come from, how findings are shown.

use std::collections::HashSet;

use super::{Case, within};
use crate::diagnose::facts::Netns;
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::Cause;
use crate::diagnose::remedies;
use crate::diagnose::words::grouped;
use crate::model::escape::printable;

/// What the kernel sets (`TCP_FIN_TIMEOUT`, include/net/tcp.h, 5.10 to 7.3), in seconds.
const DEFAULT_S: u32 = 60;
/// Where so many orphans wait for their peer's FIN, the setting has a purpose.
const PURPOSE: u64 = 100;

/// `tcp_fin_timeout` lowered to cure TIME_WAIT.
pub(super) fn fin_timeout(case: &Case<'_>) -> Vec<Finding> {
    let half_closed: HashSet<u32> = case.pools_with(Cause::HalfClosed).map(|pool| pool.netns.netns).collect();
    let found = case.facts.namespaces.iter().filter_map(|netns| {
        let set = netns.settings.fin_timeout_s.filter(|set| *set < DEFAULT_S)?;
        // Unless orphans wait in FIN_WAIT2, which is what it is for; and where nothing waits, nobody hopes for it.
        let is_hoped_for = netns.created != 0 || netns.time_wait != 0;
        // As many as there would be without it.
        let has_purpose = netns.fin_wait2.is_none_or(|waiting| {
            let waiting = waiting * u64::from(DEFAULT_S) / u64::from(set.max(1));
            waiting >= PURPOSE || waiting * 5 >= netns.time_wait.max(1)
        });
        let is_told = half_closed.contains(&netns.netns);
        (is_hoped_for && !has_purpose && !is_told).then(|| of_fin_timeout(netns, set))
    });
    found.collect()
}

fn of_fin_timeout(netns: &Netns, set: u32) -> Finding {
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

/// What the kernel counted before is not in it.
const OVERFLOW: &str = "events, and what TCPTimeWaitOverflow of /proc/net/netstat grew by";

/// `tcp_max_tw_buckets` lowered below what the kernel chose.
pub(super) fn max_tw_buckets(case: &Case<'_>) -> Vec<Finding> {
    let found = case.facts.namespaces.iter().filter_map(|netns| {
        let (set, default) = (netns.settings.max_tw_buckets?, netns.settings.max_tw_buckets_default?);
        let is_hoped_for = netns.created != 0 || netns.time_wait != 0;
        // Where it overflows, that is what there is to say.
        (set < default && netns.overflow == 0 && is_hoped_for).then(|| of_max_tw_buckets(netns, set, default))
    });
    found.collect()
}

fn of_max_tw_buckets(netns: &Netns, set: u32, default: u32) -> Finding {
    let what = format!(
        "tcp_max_tw_buckets is {}, the kernel's own value is {}: a lower one frees no port safely, it drops TIME_WAIT \
         and its protection once it is reached.",
        grouped(set.into()),
        grouped(default.into()),
    );
    Finding::new("folklore_max_tw_buckets", Severity::Notice, what)
        .at(within(netns))
        .because("tcp_max_tw_buckets", set, "sysctl net.ipv4.tcp_max_tw_buckets")
        .because("the kernel's own value", default, "half of tcp_ehash_entries, or another namespace")
        .because("TIME_WAIT sockets at the peak", netns.peak_time_wait, "sock_diag and events")
        .because("refused while it was looked at", netns.overflow, OVERFLOW)
        .remedied([remedies::restore_max_tw_buckets(netns, set, default)])
        .in_short_alone(format!("tcp_max_tw_buckets is lowered to {}", grouped(set.into())))
}

/// The name of its finding.
const TW_RECYCLE: &str = "folklore_tw_recycle";
const TW_RECYCLE_SETTING: &str = "net.ipv4.tcp_tw_recycle";

/// `tcp_tw_recycle`, which no kernel since 4.12 has.
pub(super) fn tw_recycle(case: &Case<'_>) -> Vec<Finding> {
    let on = case.facts.namespaces.iter().find(|netns| netns.settings.tw_recycle.is_some_and(|set| set != 0));
    if let Some(netns) = on {
        let what =
            "tcp_tw_recycle is on: this old kernel drops connections of clients behind one NAT at random.";
        let finding =
            Finding::new(TW_RECYCLE, Severity::Critical, what.to_owned()).at(within(netns)).because(
                "tcp_tw_recycle",
                netns.settings.tw_recycle.unwrap_or_default(),
                "sysctl net.ipv4.tcp_tw_recycle",
            );
        let finding = finding.in_short_alone("tcp_tw_recycle is on".to_owned());
        return vec![finding.remedied([remedies::drop_tw_recycle(None)])];
    }
    let Some(line) = case.facts.dead_settings.iter().find(|line| line.name == TW_RECYCLE_SETTING) else {
        return Vec::new();
    };
    let path = printable(&line.path).into_owned();
    let what = format!("{path} sets tcp_tw_recycle, which no kernel since 4.12 has: the line does nothing.");
    let finding = Finding::new(TW_RECYCLE, Severity::Notice, what)
        .because("tcp_tw_recycle there", printable(&line.value).into_owned(), "sysctl.d(5)")
        .because("tcp_tw_recycle in this kernel", "none", "/proc/sys/net/ipv4");
    let finding = finding.in_short_alone(format!("{path} sets tcp_tw_recycle, which no kernel has any more"));
    vec![finding.remedied([remedies::drop_tw_recycle(Some(&path))])]
}
