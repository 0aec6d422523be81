//! Owns: the rule for `tcp_max_tw_buckets` lowered below what the kernel chose.
//! Must not know: where facts come from, how findings are shown.

use super::within;
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::grouped;

/// What the kernel counted before is not in it.
const OVERFLOW: &str = "events, and what TCPTimeWaitOverflow of /proc/net/netstat grew by";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = facts.namespaces.iter().filter_map(|netns| {
        let (set, default) = (netns.settings.max_tw_buckets?, netns.settings.max_tw_buckets_default?);
        let is_hoped_for = netns.created != 0 || netns.time_wait != 0;
        // Where it overflows, that is what there is to say.
        (set < default && netns.overflow == 0 && is_hoped_for).then(|| finding(netns, set, default))
    });
    found.collect()
}

fn finding(netns: &Netns, set: u32, default: u32) -> Finding {
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
