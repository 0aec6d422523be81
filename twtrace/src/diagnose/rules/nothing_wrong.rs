//! Owns: what is said where no rule has anything to say.
//! Must not know: where facts come from, how findings are shown.

use crate::diagnose::facts::{Aborted, Facts, Source};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::Pool;
use crate::diagnose::scope::may_be_theirs;
use crate::diagnose::words::{grouped, tuple};
use crate::host::net::counters::Counters;
use crate::model::escape::printable;

pub(in crate::diagnose) fn rule(facts: &Facts) -> Finding {
    let time_wait: u64 = facts.namespaces.iter().map(|netns| netns.time_wait).sum();
    let created: u64 = facts.namespaces.iter().map(|netns| netns.created).sum();
    let mut what =
        format!("Nothing wrong: {} TIME_WAIT sockets, and no port or table is short.", grouped(time_wait));
    if facts.about.asks_for_owner() {
        let flags = printable(&facts.about.words().join(" ")).into_owned();
        what = format!(
            "Nothing wrong with what {flags} asks about. Of all there are {} TIME_WAIT sockets.",
            grouped(time_wait)
        );
    }
    if facts.lost != 0 {
        what = format!("Nothing wrong in what was seen, but {} events were lost.", grouped(facts.lost));
    }
    let finding = Finding::new("nothing_wrong", Severity::Fine, what)
        .because("TIME_WAIT sockets", time_wait, "sock_diag and events")
        .because("TIME_WAIT sockets made a second", created as f64 / facts.observed_s(), "events");
    let is_view = matches!(facts.source, Source::View | Source::Replay);
    let finding = if is_view { finding } else { counted(facts, finding) };
    let observed_s = facts.observed_s();
    let pools = facts
        .namespaces
        .iter()
        .flat_map(|netns| netns.tuples.iter().map(move |tuple| Pool { netns, tuple, observed_s }))
        .filter(|pool| may_be_theirs(&pool.tuple.shares, &facts.about));
    let share = |pool: &Pool<'_>| Some(f64::from(pool.taken(pool.tuple.peak)) / f64::from(pool.ports()?));
    let fullest =
        pools.filter_map(|pool| Some((share(&pool)?, pool))).max_by(|(a, _), (b, _)| a.total_cmp(b));
    match fullest {
        Some((share, pool)) => finding
            .because("fullest pool of ports", tuple(pool.tuple), super::SOCK_DIAG)
            .because("of its ports in use, %", share * 100.0, super::SOCK_DIAG),
        None => finding,
    }
}

/// Quiet is only what was looked at: a view looks at none of these.
fn counted(facts: &Facts, finding: Finding) -> Finding {
    let counted: Vec<_> = facts.namespaces.iter().filter_map(|netns| netns.counters).collect();
    let sum = |of: fn(&Counters) -> Option<u64>| {
        (!counted.is_empty()).then(|| counted.iter().filter_map(of).sum::<u64>())
    };
    // Events tell of those that a call ended; the kernel counts others as well.
    let told: u64 = facts.namespaces.iter().flat_map(|netns| &netns.aborted).map(Aborted::all).sum();
    let aborted = sum(|all| Some(all.abort_on_data? + all.abort_on_close?)).map(|counted| counted.max(told));
    let reset: u64 = facts.namespaces.iter().map(|netns| netns.reset).sum();
    finding
        .because_known("SYNs that were sent again", sum(|all| all.syn_retrans), "/proc/net/netstat")
        .because_known(
            "closes that ended in an RST",
            aborted.or((told != 0).then_some(told)),
            "/proc/net/netstat",
        )
        .because("TIME_WAIT sockets that an RST ended", reset, "events")
}
