//! Owns: the rule for SYNs that a TIME_WAIT socket refuses: a NAT, or a client, that uses a port again too soon.
//! Must not know: where facts come from, how findings are shown.
//!
//! A SYN that is not newer than the old connection is answered with an ACK; its sender answers that with an RST, which frees the socket,
//! and the SYN that is sent again after a second gets through. With `tcp_rfc1337` the RST is ignored, and each SYN with
//! an older timestamp begins the socket's minute anew (tcp_timewait_state_process(), net/ipv4/tcp_minisocks.c, 5.10 to
//! 7.3).

use super::{EVENTS, within};
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::words::{count, grouped};
use crate::diagnose::{folklore, remedies};

/// Peers that are named.
const PEERS: usize = 3;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    facts.namespaces.iter().filter_map(of_namespace).collect()
}

/// Where only the kernel's counter tells: it counts any segment with an older timestamp (tcp_timewait_state_process(),
/// net/ipv4/tcp_minisocks.c, 7.3), and one or two may have been late on their way.
const ENOUGH_COUNTED: u64 = 3;

/// How many were refused, by whichever says more; `None` where nobody could tell.
pub(super) fn refused(netns: &Netns) -> Option<u64> {
    let told: u64 = netns.syn_refused.iter().map(|refused| refused.count).sum();
    let counted = netns.counters.and_then(|counters| counters.paws_timewait);
    match (told, counted) {
        (0, None) => None,
        (0, Some(few)) if few < ENOUGH_COUNTED => Some(0),
        (told, counted) => Some(told.max(counted.unwrap_or(0))),
    }
}

fn of_namespace(netns: &Netns) -> Option<Finding> {
    let all = refused(netns).filter(|all| *all != 0)?;
    let peers: Vec<String> = netns
        .syn_refused
        .iter()
        .take(PEERS)
        .map(|refused| format!("{} on port {}", refused.peer, refused.port))
        .collect();
    let from = match (peers.is_empty(), netns.syn_refused.len().saturating_sub(PEERS)) {
        (true, _) => "whose they were was not seen, and the counter has other segments as well".to_owned(),
        (false, 0) => format!("from {}", peers.join(", ")),
        (false, more) => format!("from {} and {} more", peers.join(", "), grouped(more as u64)),
    };
    let is_worse = netns.settings.rfc1337 == Some(1);
    let then = if is_worse {
        "tcp_rfc1337 is 1, which makes it worse: each try begins the minute of TIME_WAIT anew, and connections fail"
    } else {
        "each such connection waits until its SYN is sent again, milliseconds to seconds"
    };
    let what = format!(
        "{} a TIME_WAIT socket and {} refused, as from a NAT or a client that uses a port again within 60 s; {from}. {then}.",
        if all == 1 { "1 SYN met".to_owned() } else { format!("{} met", count(all, "SYN")) },
        if all == 1 { "was" } else { "were" },
    );
    let severity = if is_worse { Severity::Critical } else { Severity::Warning };
    let finding = Finding::new("syn_refused", severity, what)
        .at(within(netns))
        .because("SYNs that a TIME_WAIT socket refused", all, "events, PAWSTimewait in /proc/net/netstat")
        .because("TIME_WAIT sockets that an RST ended", netns.reset, EVENTS)
        .because_known("tcp_rfc1337", netns.settings.rfc1337, "sysctl net.ipv4.tcp_rfc1337");
    let finding = super::with_ipvs(finding, netns)
        .in_short_alone(format!("{} refused by TIME_WAIT", count(all, "SYN")));
    Some(finding.remedied(remedies::of_refused_syns(netns)).but_not(folklore::of_refused_syns(is_worse)))
}
