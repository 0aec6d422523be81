//! Owns: the rule for trouble that only the kernel's counters show.
//! Must not know: where facts come from, how findings are shown.

use super::{syn_refused, within};
use crate::diagnose::facts::{Facts, Netns, State};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::grouped;

/// Fewer SYNs that were sent again happen to everybody.
const ENOUGH: u64 = 10;
const NETSTAT: &str = "/proc/net/netstat";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    facts.namespaces.iter().filter_map(of_namespace).collect()
}

fn of_namespace(netns: &Netns) -> Option<Finding> {
    let counters = netns.counters?;
    // What has a finding of its own is not told twice.
    let is_told = netns.piles.iter().any(|pile| pile.state == State::SynSent)
        || syn_refused::refused(netns).is_some_and(|all| all != 0);
    let syn_retrans = counters.syn_retrans.filter(|again| *again >= ENOUGH && !is_told);
    let overflows = counters.listen_overflows.filter(|overflows| *overflows != 0);
    if syn_retrans.is_none() && overflows.is_none() {
        return None;
    }
    let mut words = Vec::new();
    words.extend(
        syn_retrans
            .map(|again| format!("{} SYNs were sent again, as nobody had answered in time", grouped(again))),
    );
    words.extend(overflows.map(|all| format!("listeners had no room for {} connections", grouped(all))));
    let queue = overflows.map_or("", |_| {
        " Of a listener whose queue is full accept() is too slow, or the backlog too short: `ss -ltn` shows what waits and how much may."
    });
    let what =
        format!("The kernel's counters moved: {}. Whose they were was not seen.{queue}", words.join("; "));
    let mut finding = Finding::new("counters_moved", Severity::Warning, what)
        .at(within(netns))
        .in_short_alone(words.join("; "));
    if let Some(again) = syn_retrans {
        finding = finding.because("SYNs that were sent again", again, NETSTAT);
    }
    if let Some(overflows) = overflows {
        finding = finding.because("connections that a listener had no room for", overflows, NETSTAT);
    }
    // The path is not to blame for a queue of this machine's.
    let remedies = syn_retrans.map(|_| remedies::of_unanswered_close()).unwrap_or_default();
    Some(super::with_ipvs(finding, netns).remedied(remedies))
}
