//! Owns: the rule for TIME_WAIT sockets that RSTs end before their time.
//! Must not know: where facts come from, how findings are shown.

use super::{EVENTS, within};
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::diagnose::words::{grouped, reset_of};

/// So many are worth a word,
const ENOUGH: u64 = 10;
/// if they are such a share of those that were made.
const SHARE: f64 = 0.01;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let is_much = |netns: &&Netns| {
        let most = netns.created.max(netns.peak_time_wait) as f64;
        // With tcp_rfc1337 an RST ends none. Where SYNs are refused, the RSTs are what lets them in: that is what there is to say.
        netns.settings.rfc1337 != Some(1)
            && super::syn_refused::refused(netns).is_none_or(|all| all == 0)
            && netns.reset >= ENOUGH
            && netns.reset as f64 >= SHARE * most
    };
    facts.namespaces.iter().filter(is_much).map(|netns| finding(netns, facts)).collect()
}

fn finding(netns: &Netns, facts: &Facts) -> Finding {
    let by = if netns.concerned.is_empty() {
        String::new()
    } else {
        format!(", most of {}", reset_of(&netns.concerned, netns.reset))
    };
    let what = format!(
        "RSTs ended {} TIME_WAIT sockets before their time{by}: their protection against late segments is gone.",
        grouped(netns.reset),
    );
    Finding::new("rst_kills", Severity::Notice, what)
        .at(within(netns))
        .because("TIME_WAIT sockets that an RST ended", netns.reset, EVENTS)
        .because("TIME_WAIT sockets made", netns.created, EVENTS)
        .because_known("tcp_rfc1337", netns.settings.rfc1337, "sysctl net.ipv4.tcp_rfc1337")
        .by(netns.concerned.clone())
        .remedied([remedies::rfc1337(
            netns,
            facts.observed_s(),
            super::syn_refused::refused(netns).is_some(),
        )])
        .in_short_or(
            &format!("lost {} TIME_WAIT sockets to RSTs", grouped(netns.reset)),
            format!("RSTs ended {} TIME_WAIT sockets early", grouped(netns.reset)),
        )
}
