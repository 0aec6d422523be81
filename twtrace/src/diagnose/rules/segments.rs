//! Owns: the rules for RSTs and SYNs: closes that end in an RST of this host's (`closes_aborted`), TIME_WAIT sockets that RSTs end
//! (`rst_kills`), SYNs that one refuses (`syn_refused`), and what only the kernel's counters show of SYNs (`counters_moved`).
//! Must not know: where facts come from, how findings are shown.

use super::{Case, EVENTS, with_ipvs, within};
use crate::diagnose::facts::{AbortReasons, Aborted, Facts, Netns, Share, State};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::words::{aborts, count, grouped, holders, reset_of};
use crate::diagnose::{folklore, remedies};
use crate::host::net::counters::Counters;

/// So many are worth a word.
const ENOUGH_ABORTED: u64 = 10;
const COUNTER: &str = "TCPAbortOnData, TCPAbortOnClose in /proc/net/netstat";

/// Closes that end in an RST of this host's: no TIME_WAIT, and no certainty about the data.
pub(super) fn closes_aborted(case: &Case<'_>) -> Vec<Finding> {
    case.facts.namespaces.iter().filter_map(of_aborted).collect()
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

fn of_aborted(netns: &Netns) -> Option<Finding> {
    let sum = |part: fn(&Aborted) -> u64| netns.aborted.iter().map(part).sum::<u64>();
    let told = sum(Aborted::all);
    // What the kernel counts is of all, and that others were left out says nothing of whose they were.
    let counters = netns.counters.filter(|_| !netns.is_part);
    let counted =
        counters.map(|counters| counters.abort_on_data.unwrap_or(0) + counters.abort_on_close.unwrap_or(0));
    let all = told.max(counted.unwrap_or(0));
    if all < ENOUGH_ABORTED {
        return None;
    }
    let share = |aborted: &Aborted| Share {
        process: aborted.process.clone(),
        lost: aborted.all(),
        ..Share::default()
    };
    let shares: Vec<Share> = netns.aborted.iter().map(share).collect();
    let counter = |of: fn(&Counters) -> Option<u64>| counters.as_ref().and_then(of);
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

/// So many are worth a word,
const ENOUGH_RESET: u64 = 10;
/// if they are such a share of those that were made.
const SHARE_RESET: f64 = 0.01;

/// TIME_WAIT sockets that RSTs end before their time.
pub(super) fn rst_kills(case: &Case<'_>) -> Vec<Finding> {
    let is_much = |netns: &&Netns| {
        let most = netns.created.max(netns.peak_time_wait) as f64;
        // With tcp_rfc1337 an RST ends none. Where SYNs are refused, the RSTs are what lets them in: that is what there is to say.
        netns.settings.rfc1337 != Some(1)
            && refused(netns).is_none_or(|all| all == 0)
            && netns.reset >= ENOUGH_RESET
            && netns.reset as f64 >= SHARE_RESET * most
    };
    case.facts.namespaces.iter().filter(is_much).map(|netns| of_reset(netns, case.facts)).collect()
}

fn of_reset(netns: &Netns, facts: &Facts) -> Finding {
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
        .remedied([remedies::rfc1337(netns, facts.observed_s(), refused(netns).is_some())])
        .in_short_or(
            &format!("lost {} TIME_WAIT sockets to RSTs", grouped(netns.reset)),
            format!("RSTs ended {} TIME_WAIT sockets early", grouped(netns.reset)),
        )
}

/// Peers that are named.
const PEERS: usize = 3;

/// SYNs that a TIME_WAIT socket refuses: a NAT, or a client, that uses a port again too soon.
///
/// A SYN that is not newer than the old connection is answered with an ACK; its sender answers that with an RST, which frees the socket,
/// and the SYN that is sent again after a second gets through. With `tcp_rfc1337` the RST is ignored, and each SYN with
/// an older timestamp begins the socket's minute anew (tcp_timewait_state_process(), net/ipv4/tcp_minisocks.c, 5.10 to
/// 7.3).
pub(super) fn syn_refused(case: &Case<'_>) -> Vec<Finding> {
    case.facts.namespaces.iter().filter_map(of_refused_syns).collect()
}

/// Where only the kernel's counter tells: it counts any segment with an older timestamp (tcp_timewait_state_process(),
/// net/ipv4/tcp_minisocks.c, 7.3), and one or two may have been late on their way.
const ENOUGH_COUNTED: u64 = 3;

/// How many were refused, by whichever says more; `None` where nobody could tell.
fn refused(netns: &Netns) -> Option<u64> {
    let told: u64 = netns.syn_refused.iter().map(|refused| refused.count).sum();
    let counted = netns.counters.and_then(|counters| counters.paws_timewait);
    match (told, counted) {
        (0, None) => None,
        (0, Some(few)) if few < ENOUGH_COUNTED => Some(0),
        (told, counted) => Some(told.max(counted.unwrap_or(0))),
    }
}

fn of_refused_syns(netns: &Netns) -> Option<Finding> {
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
        "tcp_rfc1337 is 1, which makes it worse: the client's RST does not free the socket, a try that is refused for its timestamp begins the minute of TIME_WAIT anew, and connections fail"
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
    let finding =
        with_ipvs(finding, netns).in_short_alone(format!("{} refused by TIME_WAIT", count(all, "SYN")));
    Some(finding.remedied(remedies::of_refused_syns(netns)).but_not(folklore::of_refused_syns(is_worse)))
}

/// Fewer SYNs that were sent again happen to everybody.
const ENOUGH_SENT_AGAIN: u64 = 10;
const NETSTAT: &str = "/proc/net/netstat";

/// Trouble that only the kernel's counters show.
pub(super) fn counters_moved(case: &Case<'_>) -> Vec<Finding> {
    case.facts.namespaces.iter().filter_map(of_counters).collect()
}

fn of_counters(netns: &Netns) -> Option<Finding> {
    let counters = netns.counters?;
    // What has a finding of its own is not told twice.
    let is_told = netns.piles.iter().any(|pile| pile.state == State::SynSent)
        || refused(netns).is_some_and(|all| all != 0);
    let syn_retrans = counters.syn_retrans.filter(|again| *again >= ENOUGH_SENT_AGAIN && !is_told);
    let overflows = counters.listen_overflows.filter(|overflows| *overflows != 0);
    if syn_retrans.is_none() && overflows.is_none() {
        return None;
    }
    let mut words = Vec::new();
    words.extend(
        syn_retrans
            .map(|again| format!("{} SYNs were sent again, as nobody had answered in time", grouped(again))),
    );
    words.extend(overflows.map(|all| format!("listeners had no room for {} connections", grouped(all))));
    let queue = overflows.map_or("", |_| {
        " Of a listener whose queue is full accept() is too slow, or the backlog too short: `ss -ltn` shows what waits and how much may."
    });
    let what =
        format!("The kernel's counters moved: {}. Whose they were was not seen.{queue}", words.join("; "));
    let mut finding = Finding::new("counters_moved", Severity::Warning, what)
        .at(within(netns))
        .in_short_alone(words.join("; "));
    if let Some(again) = syn_retrans {
        finding = finding.because("SYNs that were sent again", again, NETSTAT);
    }
    if let Some(overflows) = overflows {
        finding = finding.because("connections that a listener had no room for", overflows, NETSTAT);
    }
    // The path is not to blame for a queue of this machine's.
    let remedies = syn_retrans.map(|_| remedies::of_unanswered_close()).unwrap_or_default();
    Some(with_ipvs(finding, netns).remedied(remedies))
}
