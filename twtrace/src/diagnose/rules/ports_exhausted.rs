//! Owns: the rule for a pool whose ports are all in TIME_WAIT, so that connect() fails.
//! Must not know: where facts come from, how findings are shown.

use super::{about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Cause;
use crate::diagnose::words::{count, end, grouped, held_time_wait, out_of};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(_, cause)| *cause == Cause::Exhausted);
    found
        .map(|(pool, _)| {
            let tuple = pool.tuple;
            let what = format!(
                "connect() to {} fails ({}): {} of {} ports are in TIME_WAIT, by {}.",
                end(tuple.daddr, tuple.dport),
                count(tuple.failed, "failure"),
                grouped(tuple.peak.time_wait.into()),
                out_of(pool.ports()),
                held_time_wait(tuple),
            );
            with_ports(Finding::new("ports_exhausted", severity(&pool), what).at(about(&pool)), &pool)
                .by(tuple.shares.clone())
                .remedied(remedies::of_client(&pool))
                .but_not(folklore::of_client())
                .in_short_of(
                    &format!(
                        "cannot connect to {}: {} of {} ports in TIME_WAIT",
                        end(tuple.daddr, tuple.dport),
                        grouped(tuple.peak.time_wait.into()),
                        out_of(pool.ports())
                    ),
                    tuple.more_callers,
                )
        })
        .collect()
}
