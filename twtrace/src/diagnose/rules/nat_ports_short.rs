//! Owns: the rule for a NAT gateway whose ports for one destination do not suffice, as far as this machine's own
//! connections go.
//! Must not know: where facts come from, how findings are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::EVENTS;
use crate::diagnose::facts::{Facts, Reach, Tuple};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::words::{end, grouped, number};
use crate::diagnose::{predict, remedies};

/// What goes out to one destination: a gateway gives all of it one pool.
#[derive(Default)]
struct Outgoing<'a> {
    made: u64,
    open: u64,
    tuples: Vec<&'a Tuple>,
}

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let Some(budget) = facts.nat_ports else { return Vec::new() };
    let mut outgoing: BTreeMap<(IpAddr, u16), Outgoing<'_>> = BTreeMap::new();
    let tuples = facts.namespaces.iter().flat_map(|netns| &netns.tuples);
    for tuple in tuples.filter(|tuple| !matches!(tuple.reach, Reach::Loopback | Reach::ThisHost)) {
        let sum = outgoing.entry((tuple.daddr, tuple.dport)).or_default();
        sum.made += tuple.created;
        sum.open += u64::from(tuple.peak.open());
        sum.tuples.push(tuple);
    }
    outgoing.iter().filter_map(|(to, sum)| finding(facts, budget, *to, sum)).collect()
}

fn finding(facts: &Facts, budget: u32, (daddr, dport): (IpAddr, u16), sum: &Outgoing<'_>) -> Option<Finding> {
    let conntrack = facts.namespaces.iter().find_map(|netns| netns.conntrack);
    let hold_s =
        conntrack.and_then(|conntrack| conntrack.time_wait_s).map_or(predict::NAT_TIME_WAIT_S, f64::from);
    let rate = sum.made as f64 / facts.observed_s();
    let need = predict::held(rate, hold_s) + sum.open as f64;
    if sum.made + sum.open < super::super::pool::ENOUGH || need <= f64::from(budget) {
        return None;
    }
    let is_over = sum.made + sum.open > u64::from(budget);
    let severity = if is_over { Severity::Critical } else { Severity::Warning };
    let what = format!(
        "Behind a NAT with {} ports for one destination, connections to {} need {} at this rate: each keeps one for \
         {} s after its end.",
        grouped(budget.into()),
        end(daddr, dport),
        number(need),
        number(hold_s),
    );
    let subject = Subject { daddr: Some(daddr), dport: Some(dport), ..Subject::default() };
    let mut finding = Finding::new("nat_ports_short", severity, what)
        .at(subject)
        .because("ports of the NAT for one destination", budget, "--nat-ports")
        .because("connections made a second", rate, EVENTS)
        .because("connections open at the peak", sum.open, "sock_diag")
        .because("ports needed for ever at this rate", need, super::COMPUTED)
        .because(
            "seconds that a NAT keeps a closed connection",
            hold_s,
            "nf_conntrack_tcp_timeout_time_wait, or its default",
        );
    if let Some(conntrack) = conntrack {
        finding = finding
            .because("connections tracked on this machine", conntrack.count, "nf_conntrack_count")
            .because("of at most", conntrack.max, "nf_conntrack_max");
    }
    let shares = sum.tuples.iter().flat_map(|tuple| tuple.shares.iter().cloned()).collect();
    let short = format!(
        "needs {} of a NAT's {} ports to {}",
        number(need),
        grouped(budget.into()),
        end(daddr, dport)
    );
    let finding = finding.by(shares).in_short(&short);
    Some(finding.remedied(remedies::of_nat(&sum.tuples, budget, hold_s)))
}
