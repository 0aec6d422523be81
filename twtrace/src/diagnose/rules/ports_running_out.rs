//! Owns: the rule for a pool whose ports will soon all be in TIME_WAIT.
//! Must not know: where facts come from, how findings are shown.

use super::{about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Cause;
use crate::diagnose::words::{end, grouped, held_ports, out_of, span};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter_map(|(pool, cause)| match cause {
        Cause::RunningOut(full_in_s) => Some((pool, full_in_s)),
        _ => None,
    });
    found
        .map(|(pool, full_in_s)| {
            let tuple = pool.tuple;
            let when = match full_in_s {
                Some(0.0) => "now: the next connect() fails".to_owned(),
                Some(seconds) => format!("in {} at this rate", span(seconds)),
                None if pool.netns.pools_are_parts => "at a rate that is not known as a whole".to_owned(),
                None => "soon: few are left".to_owned(),
            };
            let what = format!(
                "Ports to {} run out {when}; {} of {} ports are in use, mostly in TIME_WAIT, by {}.",
                end(tuple.daddr, tuple.dport),
                grouped(tuple.now.all().into()),
                out_of(pool.ports()),
                held_ports(tuple),
            );
            let finding =
                with_ports(Finding::new("ports_running_out", severity(&pool), what).at(about(&pool)), &pool);
            let finding = match full_in_s {
                Some(seconds) => finding.because("seconds until none is left", seconds, super::COMPUTED),
                None => finding,
            };
            finding
                .by(tuple.shares.clone())
                .remedied(remedies::of_client(&pool))
                .but_not(folklore::of_client())
                .in_short(&format!(
                    "runs out of ports to {} {}: {} of {} in use",
                    end(tuple.daddr, tuple.dport),
                    full_in_s.map_or("soon".to_owned(), |seconds| format!("in {}", span(seconds))),
                    grouped(tuple.now.all().into()),
                    out_of(pool.ports())
                ))
        })
        .collect()
}
