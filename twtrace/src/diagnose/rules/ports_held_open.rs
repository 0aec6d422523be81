//! Owns: the rule for a pool whose ports are held by open connections, and not by TIME_WAIT.
//! Must not know: where facts come from, how findings are shown.

use super::{about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Open, Pool, Strain};
use crate::diagnose::words::{count, end, grouped, held_open, out_of};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter(|(pool, cause)| {
        // Where bind() takes ports for all destinations, that is what there is to say.
        let is_bound =
            pool.strain() != Strain::Failing && pool.netns.binds.iter().any(|bind| bind.is_for_any());
        *cause == Cause::HeldOpen(Open::Established) && !is_bound
    });
    found
        .map(|(pool, _)| {
            let tuple = pool.tuple;
            let fails = match pool.strain() {
                Strain::Failing => format!("fails ({})", count(tuple.failed, "failure")),
                _ => "is about to fail".to_owned(),
            };
            let what = format!("connect() to {} {fails}, {}.", end(tuple.daddr, tuple.dport), held(&pool));
            with_ports(Finding::new("ports_held_open", severity(&pool), what).at(about(&pool)), &pool)
                .by(tuple.shares.clone())
                .remedied(remedies::of_held_open(&pool))
                .but_not(folklore::of_held_open())
                .in_short_of(
                    &format!(
                        "{} connect to {}: {} of {} ports on open connections",
                        if pool.strain() == Strain::Failing { "cannot" } else { "will soon not" },
                        end(tuple.daddr, tuple.dport),
                        grouped(tuple.peak.open().into()),
                        out_of(pool.ports())
                    ),
                    tuple.more_callers,
                )
        })
        .collect()
}

/// By what. Those in TIME_WAIT are told as well: they are what people look for.
fn held(pool: &Pool<'_>) -> String {
    let tuple = pool.tuple;
    let (open, time_wait) = (grouped(tuple.peak.open().into()), grouped(tuple.peak.time_wait.into()));
    let bound = pool.netns.pinned.filter(|pinned| *pinned != 0);
    format!(
        "and not for TIME_WAIT: {open} of {} ports are on open connections{}; {time_wait} in TIME_WAIT. Held by {}",
        out_of(pool.ports()),
        bound.map(|pinned| format!(", {} on bound sockets", grouped(pinned.into()))).unwrap_or_default(),
        held_open(tuple)
    )
}
