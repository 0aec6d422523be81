//! Owns: the rule for a server that cannot bind its port again while old connections hold it.
//! Must not know: where facts come from, how findings are shown.

use super::EVENTS;
use super::taken::{On, Taken, of_kind};
use crate::diagnose::facts::{BindFailure, Facts, Ports, Served, Share, Source};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::words::{count, holders};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    of_kind(facts, On::Server).iter().map(|taken| finding(facts.source, taken)).collect()
}

fn finding(source: Source, taken: &Taken<'_>) -> Finding {
    let sum = |part: fn(&Served) -> u64| taken.served.iter().map(|served| part(served)).sum::<u64>();
    let (time_wait, open) = (sum(|served| served.time_wait), sum(|served| served.open));
    let by_state = |served: &&Served| Ports { time_wait: 0, fin_wait2: 0, ..served.states }.by_state();
    let others = taken.served.iter().map(by_state).find(|states| !states.is_empty());
    let open_words = match (open, others) {
        (0, _) => String::new(),
        (_, Some(states)) => format!(" and {} ({states})", count(open, "open socket")),
        (_, None) => format!(" and {}", count(open, "open socket")),
    };
    let closers: Vec<Share> = taken.served.iter().flat_map(|served| served.shares.iter().cloned()).collect();
    let left = match taken.left_ms() {
        0 => String::new(),
        ms => format!(", the last of them for {} s more when it failed", ms.div_ceil(1000)),
    };
    let reuseaddr = reuseaddr(taken);
    let unseen = time_wait.saturating_sub(closers.iter().map(|share| share.time_wait).sum());
    let what = format!(
        "{}: {}{open_words} of earlier connections hold it{left}, of {}. {}",
        taken.cannot(),
        count(time_wait, "TIME_WAIT socket"),
        holders(&closers, |share| share.time_wait + share.open, unseen),
        reuseaddr.0,
    );
    // Without lists, a recording knows of no listener.
    let is_listed = source != Source::Recording || taken.netns.range_in_use.is_some();
    let listens = if is_listed { "no" } else { "unknown" };
    taken
        .finding("server_cannot_bind", Severity::Critical, what)
        .because("TIME_WAIT sockets on this port", time_wait, "sock_diag")
        .because("other sockets on this port", open, "sock_diag")
        .because(
            "the last of those in TIME_WAIT had left when it failed, s",
            taken.left_ms().div_ceil(1000),
            "sock_diag",
        )
        .because("somebody listens on it", listens, "sock_diag")
        .because("SO_REUSEADDR on the socket that failed", reuseaddr.1, EVENTS)
        .by(taken.owners(&closers))
        .in_short(&format!("cannot bind {}: {} on it", taken.ports(), count(time_wait, "TIME_WAIT socket")))
        .remedied(remedies::of_server(time_wait, open, taken.left_ms(), reuseaddr.2))
        .but_not(folklore::of_server())
}

/// Whether SO_REUSEADDR was set on the sockets that failed: as a sentence, as a value, and where it is known of all.
fn reuseaddr(taken: &Taken<'_>) -> (String, &'static str, Option<bool>) {
    let sum = |part: fn(&BindFailure) -> u64| taken.calls.iter().map(|bind| part(bind)).sum::<u64>();
    let (set, unset, failed) = (sum(|bind| bind.reuseaddr), sum(|bind| bind.no_reuseaddr), taken.failed());
    if set + unset != failed {
        let what = "Whether SO_REUSEADDR was set on the socket that failed was not looked at.";
        return (what.to_owned(), "not looked at", None);
    }
    match (set, unset) {
        (0, _) => ("SO_REUSEADDR was not set on the socket that failed.".to_owned(), "no", Some(false)),
        (_, 0) => {
            let what = "SO_REUSEADDR was set on the socket that failed; the kernel asks it of those that hold the port as well.";
            (what.to_owned(), "yes", Some(true))
        }
        _ => (format!("SO_REUSEADDR was set in {set} of {failed} calls."), "of some", None),
    }
}
