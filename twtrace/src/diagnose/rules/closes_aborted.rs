//! Owns: the rule for closes that end in an RST of this host's: no TIME_WAIT, and no certainty about the data.
//! Must not know: where facts come from, how findings are shown.

use super::{EVENTS, within};
use crate::diagnose::facts::{AbortReasons, Facts, Netns, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::{aborts, count, grouped, holders};

/// So many are worth a word.
const ENOUGH: u64 = 10;
const COUNTER: &str = "TCPAbortOnData, TCPAbortOnClose in /proc/net/netstat";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    facts.namespaces.iter().filter_map(of_namespace).collect()
}

/// An RST that answers data has no event: nobody called then.
fn by_whom(shares: &[Share], told: u64, untold: u64) -> String {
    let named = (told != 0).then(|| format!(", by {}", holders(shares, |share| share.lost, 0)));
    let rest = match (told, untold) {
        (_, 0) => String::new(),
        (0, _) => "; whose they were no event tells".to_owned(),
        _ => format!(", and {} of which no event tells whose they were", grouped(untold)),
    };
    named.unwrap_or_default() + &rest
}

fn of_namespace(netns: &Netns) -> Option<Finding> {
    let sum = |part: fn(&crate::diagnose::facts::Aborted) -> u64| netns.aborted.iter().map(part).sum::<u64>();
    let told = sum(crate::diagnose::facts::Aborted::all);
    // What the kernel counts is of all, and that others were left out says nothing of whose they were.
    let counters = netns.counters.filter(|_| !netns.is_part);
    let counted =
        counters.map(|counters| counters.abort_on_data.unwrap_or(0) + counters.abort_on_close.unwrap_or(0));
    let all = told.max(counted.unwrap_or(0));
    if all < ENOUGH {
        return None;
    }
    let share = |aborted: &crate::diagnose::facts::Aborted| Share {
        process: aborted.process.clone(),
        lost: aborted.all(),
        ..Share::default()
    };
    let shares: Vec<Share> = netns.aborted.iter().map(share).collect();
    let counter =
        |of: fn(&crate::host::net::counters::Counters) -> Option<u64>| counters.as_ref().and_then(of);
    // The kernel counts two reasons together that events tell apart.
    let linger = sum(|aborted| aborted.linger);
    let later = counter(|counters| counters.abort_on_data).unwrap_or(0).saturating_sub(linger);
    let unread =
        sum(|aborted| aborted.unread_data).max(counter(|counters| counters.abort_on_close).unwrap_or(0));
    let whys = AbortReasons { linger, unread, later };
    let what = format!(
        "{} closes ended in an RST of this host's ({}){}: no TIME_WAIT follows, and what was on its way may be lost. Fewer \
         TIME_WAIT sockets for this reason are no gain.",
        grouped(all),
        aborts(&whys),
        by_whom(&shares, told, all - told),
    );
    let finding = Finding::new("closes_aborted", Severity::Notice, what)
        .at(within(netns))
        .because("closes that ended in an RST, told by events", told, EVENTS)
        .because_known("the same, counted by the kernel", counted, COUNTER)
        .because("TIME_WAIT sockets made", netns.created, EVENTS);
    let short = format!("{} with an RST", count(all, "connection"));
    let finding = finding.by(shares).in_short_or(&format!("ended {short}"), format!("ended {short}"));
    Some(finding.remedied(remedies::of_aborts(&whys)))
}
