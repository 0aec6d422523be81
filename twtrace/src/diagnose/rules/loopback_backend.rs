//! Owns: the rule for many short connections within one machine: a proxy to its local backend.
//! Must not know: where facts come from, how findings are shown.

use super::{about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Cause;
use crate::diagnose::words::{end, grouped, holders, number};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(_, cause)| *cause == Cause::LocalBackend);
    found
        .map(|(pool, _)| {
            let tuple = pool.tuple;
            let what = format!(
                "{} connects to {} on this very machine {} times a second and closes each time: {} of {} ports are \
                 in TIME_WAIT. They do not run out at this rate.",
                holders(&tuple.shares, |share| share.created, 0),
                end(tuple.daddr, tuple.dport),
                number(pool.rate()),
                grouped(tuple.now.time_wait.into()),
                grouped(pool.ports().unwrap_or(0).into()),
            );
            with_ports(Finding::new("loopback_backend", severity(&pool), what).at(about(&pool)), &pool)
                .by(tuple.shares.clone())
                .remedied(remedies::of_local_backend(&pool))
                .but_not(folklore::of_client())
                .in_short(&format!(
                    "connects to local {} {} times a second, each time anew",
                    end(tuple.daddr, tuple.dport),
                    number(pool.rate())
                ))
        })
        .collect()
}
