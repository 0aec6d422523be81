//! Owns: the rules for tables and how full they are: of TIME_WAIT sockets (`table_overflow`, `server_side_harmless`), of connections that
//! are tracked and of orphans (`conntrack_near_full`, `orphans_near_limit`), and the ports of a NAT gateway (`nat_ports_short`).
//! Must not know: where facts come from, how findings are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{COMPUTED, Case, EVENTS, with_ipvs, within};
use crate::diagnose::facts::{Facts, Netns, Reach, Served, Share, Tuple};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::scope::may_be_theirs;
use crate::diagnose::words::{count, end, grouped, holders, number, refused_of};
use crate::diagnose::{folklore, pool, predict, remedies};

/// Connections that end without TIME_WAIT because `tcp_max_tw_buckets` refuses one.
pub(super) fn table_overflow(case: &Case<'_>) -> Vec<Finding> {
    let found = case.facts.namespaces.iter().filter(|netns| netns.overflow != 0);
    found.map(|netns| of_overflow(netns, case.facts)).collect()
}

fn of_overflow(netns: &Netns, facts: &Facts) -> Finding {
    let rate = netns.created as f64 / facts.observed_s() + netns.overflow as f64 / facts.failures_s();
    let rate = (!netns.is_part).then_some(rate);
    let refused = count(netns.overflow, "connection");
    let are = if netns.overflow == 1 { "it was" } else { "they were" };
    let by = if netns.concerned.is_empty() {
        String::new()
    } else {
        format!(" by {}", refused_of(&netns.concerned, netns.overflow))
    };
    let full = match netns.settings.max_tw_buckets {
        Some(most) => format!("all {} of tcp_max_tw_buckets were taken", grouped(most.into())),
        None => "no room was left within tcp_max_tw_buckets".to_owned(),
    };
    let what = format!("{refused} ended without TIME_WAIT: {are} closed{by} while {full}.");
    let finding = Finding::new("table_overflow", Severity::Warning, what)
        .at(within(netns))
        .because(
            "TIME_WAIT sockets refused",
            netns.overflow,
            "events, TCPTimeWaitOverflow in /proc/net/netstat",
        )
        .because_known(
            "tcp_max_tw_buckets",
            netns.settings.max_tw_buckets,
            "sysctl net.ipv4.tcp_max_tw_buckets",
        )
        .because("TIME_WAIT sockets at the peak", netns.peak_time_wait, "sock_diag and events")
        .because_known("TIME_WAIT sockets wanted a second", rate, "events")
        .by(netns.concerned.clone())
        .remedied(remedies::of_overflow(netns, rate, facts.failures_s(), object_bytes(facts)))
        .but_not(folklore::of_overflow());
    if netns.concerned.is_empty() {
        let ended = if netns.overflow == 1 { "ended" } else { "end" };
        finding.in_short_alone(format!("{refused} {ended} without TIME_WAIT: {full}"))
    } else {
        finding.in_short(&format!("closed {refused} without TIME_WAIT: {full}"))
    }
}

/// A socket's size, in bytes; where nobody may read it (`tw_sock_TCP` on 5.10 to 7.3: 248 to 264), a likely one.
fn object_bytes(facts: &Facts) -> u64 {
    facts.slab.map_or(256, |slab| slab.object_bytes)
}

/// So many make people ask.
const MANY_OF_SERVERS: u64 = 500;

/// Many TIME_WAIT sockets on a server's side, which harm nobody.
pub(super) fn server_side_harmless(case: &Case<'_>) -> Vec<Finding> {
    let is_much = |netns: &&Netns| {
        netns.server_time_wait >= MANY_OF_SERVERS
            && netns.server_time_wait * 2 >= netns.time_wait
            // Close to the limit they are no longer harmless.
            && netns.overflow == 0
            && netns.settings.max_tw_buckets.is_none_or(|most| netns.time_wait * 2 <= u64::from(most))
    };
    case.facts
        .namespaces
        .iter()
        .filter(is_much)
        .filter_map(|netns| of_server_side(netns, case.facts))
        .collect()
}

/// `None` where none of those who are asked about serves.
fn of_server_side(netns: &Netns, facts: &Facts) -> Option<Finding> {
    let theirs = netns.served.iter().filter(|served| may_be_theirs(&served.shares, &facts.about));
    let served: Option<&Served> = theirs.max_by_key(|served| served.time_wait);
    if served.is_none() && !netns.served.is_empty() {
        return None;
    }
    let shares: Vec<Share> = served.map(|served| served.shares.clone()).unwrap_or_default();
    let bytes = predict::memory(netns.server_time_wait, object_bytes(facts));
    let what = format!(
        "{} TIME_WAIT sockets are on a server's side (port {}, closed first by {}): they take {} of memory and no \
         ephemeral port. Nothing needs to be done.",
        grouped(netns.server_time_wait),
        served.map_or(0, |served| served.port),
        holders(&shares, |share| share.time_wait.max(share.created), 0),
        crate::model::figures::bytes(bytes),
    );
    let mut finding = Finding::new("server_side_harmless", Severity::Notice, what)
        .at(within(netns))
        .because("TIME_WAIT sockets on a server's side", netns.server_time_wait, "sock_diag")
        .because("of all TIME_WAIT sockets", netns.time_wait, "sock_diag")
        .because("their memory, bytes", bytes, COMPUTED)
        .because_known(
            "tcp_max_tw_buckets",
            netns.settings.max_tw_buckets,
            "sysctl net.ipv4.tcp_max_tw_buckets",
        );
    if let Some(slab) = facts.slab {
        finding = finding.because("slab of the whole machine, bytes", slab.bytes, "/proc/slabinfo");
    }
    let finding = finding
        .by(shares)
        .remedied([remedies::longer_connections(netns, facts.observed_s())])
        .but_not(folklore::of_server_side())
        .in_short_alone(format!(
            "{} TIME_WAIT sockets on a server's side, which do no harm",
            grouped(netns.server_time_wait)
        ));
    Some(finding)
}

/// Tables of the kernel's that are nearly full: connection tracking, orphans.
pub(super) fn limits_near(case: &Case<'_>) -> Vec<Finding> {
    case.facts
        .namespaces
        .iter()
        .flat_map(|netns| [of_conntrack(netns), of_orphans(netns)])
        .flatten()
        .collect()
}

/// Beyond the limit new connections are dropped, `nf_conntrack: table full, dropping packet` in the log
/// (__nf_conntrack_alloc(), net/netfilter/nf_conntrack_core.c, 5.10 to 7.3).
fn of_conntrack(netns: &Netns) -> Option<Finding> {
    let conntrack = netns.conntrack?;
    if conntrack.max == 0 || conntrack.count * 10 < conntrack.max * 9 {
        return None;
    }
    let (is_full, does) = (conntrack.count >= conntrack.max, "the kernel drops what begins a new one");
    let severity = if is_full { Severity::Critical } else { Severity::Warning };
    let what = format!(
        "Connection tracking has {} of at most {} connections: {}{does}.",
        grouped(conntrack.count),
        grouped(conntrack.max),
        if is_full { "" } else { "once it is full, " },
    );
    let finding = Finding::new("conntrack_near_full", severity, what)
        .at(within(netns))
        .because("connections tracked", conntrack.count, "nf_conntrack_count")
        .because("of at most", conntrack.max, "nf_conntrack_max")
        .because_known(
            "seconds that a closed one stays",
            conntrack.time_wait_s,
            "nf_conntrack_tcp_timeout_time_wait",
        );
    let short = format!("connection tracking has {} of {}", grouped(conntrack.count), grouped(conntrack.max));
    let finding = with_ipvs(finding, netns);
    Some(finding.remedied([remedies::conntrack_room()]).in_short_alone(short))
}

/// Beyond it the kernel resets what is closed and not yet done (tcp_check_oom(), net/ipv4/tcp.c, 5.10 to 7.3).
fn of_orphans(netns: &Netns) -> Option<Finding> {
    let counters = netns.counters?;
    let (orphans, most) = counters.orphans.zip(counters.max_orphans)?;
    if most == 0 || orphans * 5 < most * 4 {
        return None;
    }
    let what = format!(
        "{} of at most {} orphans (tcp_max_orphans): beyond it the kernel ends closed connections with an RST.",
        grouped(orphans),
        grouped(most)
    );
    let finding = Finding::new("orphans_near_limit", Severity::Warning, what)
        .at(within(netns))
        .because("sockets that no descriptor holds, of the whole machine", orphans, "/proc/net/sockstat")
        .because("tcp_max_orphans", most, "sysctl net.ipv4.tcp_max_orphans");
    let short = format!("{} of at most {} orphans", grouped(orphans), grouped(most));
    Some(finding.remedied(remedies::of_unanswered_close()).in_short_alone(short))
}

/// What goes out to one destination: a gateway gives all of it one pool.
#[derive(Default)]
struct OutgoingTo<'a> {
    made: u64,
    open: u64,
    tuples: Vec<&'a Tuple>,
}

/// A NAT gateway whose ports for one destination do not suffice, as far as this machine's own connections go.
pub(super) fn nat_ports_short(case: &Case<'_>) -> Vec<Finding> {
    let Some(budget) = case.facts.nat_ports else { return Vec::new() };
    let mut outgoing: BTreeMap<(IpAddr, u16), OutgoingTo<'_>> = BTreeMap::new();
    let tuples = case.facts.namespaces.iter().flat_map(|netns| &netns.tuples);
    for tuple in tuples.filter(|tuple| !matches!(tuple.reach, Reach::Loopback | Reach::ThisHost)) {
        let sum = outgoing.entry((tuple.daddr, tuple.dport)).or_default();
        sum.made += tuple.created;
        sum.open += u64::from(tuple.peak.open());
        sum.tuples.push(tuple);
    }
    outgoing.iter().filter_map(|(to, sum)| of_nat(case.facts, budget, *to, sum)).collect()
}

fn of_nat(
    facts: &Facts,
    budget: u32,
    (daddr, dport): (IpAddr, u16),
    sum: &OutgoingTo<'_>,
) -> Option<Finding> {
    let conntrack = facts.namespaces.iter().find_map(|netns| netns.conntrack);
    let hold_s =
        conntrack.and_then(|conntrack| conntrack.time_wait_s).map_or(predict::NAT_TIME_WAIT_S, f64::from);
    let rate = sum.made as f64 / facts.observed_s();
    let need = predict::held(rate, hold_s) + sum.open as f64;
    if sum.made + sum.open < pool::ENOUGH || need <= f64::from(budget) {
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
        .because("ports needed for ever at this rate", need, COMPUTED)
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
    let shares = sum.tuples.iter().flat_map(|tuple| tuple.shares.iter().cloned());
    let short = format!(
        "needs {} of a NAT's {} ports to {}",
        number(need),
        grouped(budget.into()),
        end(daddr, dport)
    );
    let finding = finding.by(Share::most_first(shares, |share| share.created + share.open)).in_short(&short);
    Some(finding.remedied(remedies::of_nat(&sum.tuples, budget, hold_s)))
}
