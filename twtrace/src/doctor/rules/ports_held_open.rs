//! Owns: the rule for a pool whose ports are held by open or bound sockets, and not by TIME_WAIT.
//! Must not know: where facts come from, how findings are shown.

use super::{about, pools, severity, with_ports};
use crate::doctor::facts::Facts;
use crate::doctor::finding::Finding;
use crate::doctor::pool::{Cause, Strain};
use crate::doctor::words::{count, end, grouped, names};
use crate::doctor::{folklore, remedies};

/// The name of its finding.
pub(super) const ID: &str = "ports_held_open";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(pool, cause)| {
        // Where bind() takes ports for all destinations, that is what there is to say.
        let is_bound = pool.strain() != Strain::Failing && pool.netns.binds.iter().any(|bind| bind.port == 0);
        *cause == Cause::HeldOpen && !is_bound
    });
    found
        .map(|(pool, _)| {
            let tuple = pool.tuple;
            let fails = match pool.strain() {
                Strain::Failing => format!("fails ({})", count(tuple.failed, "failure")),
                _ => "is about to fail".to_owned(),
            };
            let pinned = pool.netns.pinned.unwrap_or(0);
            let what = format!(
                "connect() to {} {fails}, and not for TIME_WAIT: {} of {} ports are on open connections, {} on \
                 bound sockets; {} in TIME_WAIT. Held by {}.",
                end(tuple.daddr, tuple.dport),
                grouped(tuple.peak.open().into()),
                pool.ports().map_or_else(|| "an unknown number of".to_owned(), |ports| grouped(ports.into())),
                grouped(pinned.into()),
                grouped(tuple.peak.time_wait.into()),
                names(&tuple.shares),
            );
            with_ports(Finding::new(ID, severity(&pool), what).at(about(&pool)), &pool)
                .by(tuple.shares.clone())
                .remedied(remedies::of_held_open(&pool))
                .but_not(folklore::of_held_open())
        })
        .collect()
}
