//! Owns: the rule for a bind() that fails because somebody else listens there: the wrong suspect is TIME_WAIT.
//! Must not know: where facts come from, how findings are shown.

use super::taken::{On, Taken, of_kind};
use crate::diagnose::facts::{Facts, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::holders;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    of_kind(facts, On::Listener).iter().map(finding).collect()
}

fn finding(taken: &Taken<'_>) -> Finding {
    let listeners: Vec<Share> =
        taken.served.iter().flat_map(|served| served.shares.iter().cloned()).collect();
    let (listens, it) = if taken.port_count() == 1 { ("listens", "it") } else { ("listen", "them") };
    let what = format!(
        "{}: {} {listens} on {it}. TIME_WAIT has no part in it.",
        taken.cannot(),
        holders(&listeners, |share| share.open, 0),
    );
    let time_wait: u64 = taken.served.iter().map(|served| served.time_wait).sum();
    taken
        .finding("port_in_use", Severity::Warning, what)
        .because("bind() or listen() failures on this port", taken.failed(), super::EVENTS)
        .because("somebody listens on it", "yes", "sock_diag")
        .because("TIME_WAIT sockets on this port", time_wait, "sock_diag")
        .by(taken.owners(&listeners))
        .in_short(&format!(
            "cannot bind {}: {} {listens} there",
            taken.ports(),
            holders(&listeners, |share| share.open, 0)
        ))
        .remedied([remedies::other_port(&taken.ports())])
}
