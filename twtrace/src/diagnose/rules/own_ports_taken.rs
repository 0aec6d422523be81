//! Owns: the rule for a client that takes its source ports itself and comes back to those of its own last connections.
//! Must not know: where facts come from, how findings are shown.

use super::taken::{On, Taken, of_kind};
use crate::diagnose::facts::{Facts, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::words::{grouped, holders, times};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    of_kind(facts, On::Own).iter().map(finding).collect()
}

fn finding(taken: &Taken<'_>) -> Finding {
    let held: u64 = taken.outgoing().count() as u64;
    let left = taken.left_ms().div_ceil(1000);
    let mut callers: Vec<Share> = taken.callers();
    for outgoing in taken.outgoing() {
        if let Some(share) = callers.iter_mut().find(|share| share.process.comm == outgoing.process.comm) {
            share.time_wait += 1;
        }
    }
    let what = format!(
        "{} takes its source ports itself, and its own earlier connections have {}: {} of them in TIME_WAIT, the last for {left} s \
         more. bind() fails {}.",
        holders(&callers, |share| share.failed, 0),
        taken.ports(),
        grouped(held),
        times(taken.failed()),
    );
    taken
        .finding("own_ports_taken", Severity::Critical, what)
        .because("TIME_WAIT sockets of its own on these ports", held, super::EVENTS)
        .because("the last of those in TIME_WAIT has left, s", left, super::EVENTS)
        .by(callers)
        .remedied(remedies::of_own_ports(taken.netns, taken.port_count()))
        .but_not(folklore::of_own_ports())
        .in_short(&format!("cannot bind {}: its own earlier connections have them", taken.ports()))
}
