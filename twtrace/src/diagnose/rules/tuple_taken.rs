//! Owns: the rule for connect() from a port that the caller bound itself and whose connection exists already.
//! Must not know: where facts come from, how findings are shown.

use super::{EVENTS, towards};
use crate::diagnose::facts::{Facts, Netns, Tuple};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::{end, holders, times};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let all = facts.namespaces.iter().flat_map(|netns| netns.tuples.iter().map(move |tuple| (netns, tuple)));
    // Where the pool is exhausted as well, that is the thing to say.
    all.filter(|(_, tuple)| tuple.taken != 0 && tuple.failed == 0)
        .map(|(netns, tuple)| finding(netns, tuple))
        .collect()
}

fn finding(netns: &Netns, tuple: &Tuple) -> Finding {
    let callers = tuple.callers();
    let what = format!(
        "connect() to {} fails {} from a port that {} bound itself: that connection exists already.",
        end(tuple.daddr, tuple.dport),
        times(tuple.failed_bound),
        holders(&callers, |share| share.failed, 0),
    );
    Finding::new("tuple_taken", Severity::Critical, what)
        .at(towards(netns, tuple))
        .because("connect() failures from a bound port", tuple.failed_bound, EVENTS)
        .because_known("ports that connect() could choose from by itself", netns.settings.ports, super::RANGE)
        .because("of those, in use", tuple.peak.all(), super::SOCK_DIAG)
        .by(callers)
        .remedied([remedies::unbound_port(netns, tuple)])
        .in_short(&format!(
            "cannot connect to {} from a port that it bound: that connection exists",
            end(tuple.daddr, tuple.dport)
        ))
}
