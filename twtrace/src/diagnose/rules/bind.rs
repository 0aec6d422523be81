//! Owns: the rules for a bind() that fails for want of a port: of any for a source address (`bound_source`), or of one that old
//! connections, outgoing ones, the caller's own or a listener has (`server_cannot_bind`, `ephemeral_port_taken`, `own_ports_taken`,
//! `port_in_use`).
//! Must not know: where facts come from, how findings are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::taken::{self, On, Taken, callers, of_kind};
use super::{Case, EVENTS, RANGE, within};
use crate::diagnose::facts::{BindFailure, Netns, Outgoing, Ports, Served, Share, Source};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::range::Range;
use crate::diagnose::words::{count, failing, grouped, holders, times};
use crate::diagnose::{folklore, remedies};

/// Clients that bind a source address before connect() and so share one pool for all destinations.
pub(super) fn bound_source(case: &Case<'_>) -> Vec<Finding> {
    case.facts.namespaces.iter().filter_map(of_sources).collect()
}

/// Of several addresses that one is told for which most calls failed, with who made those.
fn of_sources(netns: &Netns) -> Option<Finding> {
    let mut sources: BTreeMap<Option<IpAddr>, Vec<&BindFailure>> = BTreeMap::new();
    for bind in netns.binds.iter().filter(|bind| bind.port == 0) {
        sources.entry(bind.saddr).or_default().push(bind);
    }
    let all: u64 = sources.values().map(|calls| taken::failed(calls)).sum();
    let calls = sources.into_values().max_by_key(|calls| taken::failed(calls))?;
    let worst = calls.iter().max_by_key(|bind| bind.failed)?;
    let failed = taken::failed(&calls);
    let elsewhere = match all - failed {
        0 => String::new(),
        others => format!(", and {} for other source addresses", times(others)),
    };
    let from = worst.saddr.map_or_else(|| "a source address".to_owned(), |saddr| saddr.to_string());
    let who = callers(&calls);
    let own = Range::of_sockets(&worst.ranged, &netns.settings);
    let ports = own.map(|own| own.ports).or(netns.settings.ports);
    let what = format!(
        "{} binds {from} before connect(), and bind() fails {} with EADDRINUSE{elsewhere}: without IP_BIND_ADDRESS_NO_PORT all \
         destinations share one pool of {} ports{}.",
        failing(&who),
        times(failed),
        ports.map_or_else(|| "so many".to_owned(), |ports| grouped(ports.into())),
        own.map_or_else(String::new, |own| {
            format!(", {} to {}, which its sockets set with IP_LOCAL_PORT_RANGE", own.low, own.high)
        }),
    );
    let subject = Subject { saddr: worst.saddr, ..within(netns) };
    let finding = Finding::new("bound_source", Severity::Critical, what)
        .at(subject)
        .because("bind() failures that asked for any port", failed, EVENTS)
        .because_known("ports that bind() can choose from", ports, RANGE)
        .because_known("ports of the range in use, all destinations", netns.range_in_use, "sock_diag")
        .because("destinations of the caller", worst.destinations, "sock_diag and events");
    Some(
        finding
            .by(who)
            .remedied(remedies::of_bound_source(netns, worst, own))
            .but_not(folklore::of_bound_source())
            .in_short(&format!("cannot bind {from}: no port is left, as all destinations share them")),
    )
}

/// A server that cannot bind its port again while old connections hold it.
pub(super) fn server_cannot_bind(case: &Case<'_>) -> Vec<Finding> {
    of_kind(case.facts, On::Server).iter().map(|taken| of_server(case.facts.source, taken)).collect()
}

fn of_server(source: Source, taken: &Taken<'_>) -> Finding {
    let (time_wait, open) = (taken.time_wait(), taken.open());
    let open_words = match open {
        0 => String::new(),
        _ => format!(" and {}{}", count(open, "open socket"), states(&taken.served)),
    };
    let closers = taken.serving();
    let left = match taken.left_s() {
        0 => String::new(),
        seconds => format!(", the last of them for {seconds} s more when it failed"),
    };
    let reuseaddr = reuseaddr(taken);
    let unseen = time_wait.saturating_sub(closers.iter().map(|share| share.time_wait).sum());
    let what = format!(
        "{}: {}{open_words} of earlier connections hold it{left}, of {}. {}",
        taken.cannot(),
        count(time_wait, "TIME_WAIT socket"),
        holders(&closers, Share::held, unseen),
        reuseaddr.0,
    );
    // Without lists, a recording knows of no listener.
    let is_listed = source != Source::Recording || taken.netns.range_in_use.is_some();
    let listens = if is_listed { "no" } else { "unknown" };
    taken
        .finding("server_cannot_bind", Severity::Critical, what)
        .because("TIME_WAIT sockets on this port", time_wait, "sock_diag and events")
        .because("other sockets on this port", open, "sock_diag")
        .because("the last of those in TIME_WAIT had left when it failed, s", taken.left_s(), "sock_diag")
        .because("somebody listens on it", listens, "sock_diag")
        .because("SO_REUSEADDR on the socket that failed", reuseaddr.1, EVENTS)
        .by(taken.callers().into_iter().chain(closers))
        .in_short(&format!("cannot bind {}: {} on it", taken.ports(), count(time_wait, "TIME_WAIT socket")))
        .remedied(remedies::of_server(time_wait, open, taken.left_s(), reuseaddr.2))
        .but_not(folklore::of_server())
}

/// ` (3 in CLOSE_WAIT)`: of open sockets on one port. Those on several are not told apart.
fn states(served: &[&Served]) -> String {
    let [served] = served else { return String::new() };
    let states = Ports { time_wait: 0, fin_wait2: 0, ..served.states }.by_state();
    if states.is_empty() { states } else { format!(" ({states})") }
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

/// A server whose port an outgoing connection has.
///
/// A port that connect() chose is given to a bind() only if both sockets have SO_REUSEADDR (inet_csk_bind_conflict(),
/// net/ipv4/inet_connection_sock.c, 5.10 to 7.3), which clients do not set. So it does not matter what the server sets.
pub(super) fn ephemeral_port_taken(case: &Case<'_>) -> Vec<Finding> {
    of_kind(case.facts, On::Client).iter().map(of_ephemeral_port).collect()
}

fn of_ephemeral_port(taken: &Taken<'_>) -> Finding {
    let owners = taken.holders();
    let (time_wait, open) =
        owners.iter().fold((0, 0), |sum, share| (sum.0 + share.time_wait, sum.1 + share.open));
    let left = match taken.left_s() {
        0 => String::new(),
        seconds => format!(", the last for {seconds} s more"),
    };
    let state = match (time_wait, open) {
        (_, 0) => "TIME_WAIT",
        (0, _) => "use",
        _ => "TIME_WAIT or in use",
    };
    let has = if taken.port_count() == 1 {
        "an outgoing connection has it"
    } else {
        "outgoing connections have them"
    };
    let (how, remedies) = if taken.was_bound() {
        let how = "bind() asked for the port, and reserved ports do not keep it from that";
        (how, vec![remedies::other_port(&taken.ports())])
    } else {
        let how = "connect() chose the port, from ip_local_port_range";
        (how, remedies::of_ephemeral_port(taken.netns, &taken.calls))
    };
    let what = format!(
        "{}: {has}, in {state}, by {}{left}. {how}; SO_REUSEADDR of the server cannot take it from there.",
        taken.cannot(),
        holders(&owners, Share::held, 0),
    );
    let callers = taken.callers();
    taken
        .finding("ephemeral_port_taken", Severity::Critical, what)
        .because("sockets of outgoing connections on them, in TIME_WAIT", time_wait, "sock_diag and events")
        .because("the same, in other states", open, "sock_diag")
        .because("the last of those in TIME_WAIT has left, s", taken.left_s(), "sock_diag and events")
        .by(owners.into_iter().chain(callers))
        .remedied(remedies)
        .but_not(folklore::of_ephemeral_port())
        .in_short(&format!("cannot bind {}: {has}", taken.ports()))
}

/// A client that takes its source ports itself and comes back to those of its own last connections.
pub(super) fn own_ports_taken(case: &Case<'_>) -> Vec<Finding> {
    of_kind(case.facts, On::Own).iter().map(of_own_ports).collect()
}

fn of_own_ports(taken: &Taken<'_>) -> Finding {
    let callers = taken.callers();
    // Calls of one program are told together, and so are its connections, whichever of its processes made them.
    let is_own = |outgoing: &&Outgoing| {
        callers.iter().any(|share| share.process.comm == outgoing.process.comm)
            && outgoing.process.pid.is_some()
    };
    let own: Vec<&Outgoing> = taken.outgoing().filter(is_own).collect();
    let (held, left) = (own.len() as u64, taken::left_s(own.iter().map(|outgoing| outgoing.left_ms)));
    let (time_wait, open) = (taken.time_wait().saturating_sub(held), taken.open());
    let is_listed = taken.is_listed();
    let what = format!(
        "{} takes its source ports itself, and its own earlier connections have {}: {} of them in TIME_WAIT, the last for {left} s \
         more. bind() fails {}.{}",
        failing(&callers),
        taken.ports(),
        grouped(held),
        times(taken.failed()),
        beside(time_wait, open),
    );
    let share =
        |outgoing: &Outgoing| Share { process: outgoing.process.clone(), time_wait: 1, ..Share::default() };
    let shares: Vec<Share> = own.into_iter().map(share).collect();
    taken
        .finding("own_ports_taken", Severity::Critical, what)
        .because("TIME_WAIT sockets of its own on these ports", held, EVENTS)
        .because("the last of those in TIME_WAIT has left, s", left, EVENTS)
        .because_known(
            "other TIME_WAIT sockets on these ports",
            (is_listed || time_wait != 0).then_some(time_wait),
            "sock_diag and events",
        )
        .because_known("open sockets on these ports", is_listed.then_some(open), "sock_diag")
        .by(callers.into_iter().chain(shares))
        .remedied(remedies::of_own_ports(taken.netns, taken.port_count()))
        .but_not(folklore::of_own_ports())
        .in_short(&format!("cannot bind {}: its own earlier connections have them", taken.ports()))
}

/// What is on ports beside what a sentence before it is about.
fn beside(time_wait: u64, open: u64) -> String {
    let parts = [(time_wait, "other TIME_WAIT socket"), (open, "open socket")];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number != 0).map(|(number, what)| count(*number, what)).collect();
    if parts.is_empty() { String::new() } else { format!(" Also there: {}.", parts.join(" and ")) }
}

/// A bind() that fails because somebody else listens there: the wrong suspect is TIME_WAIT.
pub(super) fn port_in_use(case: &Case<'_>) -> Vec<Finding> {
    of_kind(case.facts, On::Listener).iter().map(of_port_in_use).collect()
}

fn of_port_in_use(taken: &Taken<'_>) -> Finding {
    let listeners = taken.serving();
    let (listens, it) = if taken.port_count() == 1 { ("listens", "it") } else { ("listen", "them") };
    let who = holders(&listeners, |share| share.open, 0);
    let what = format!("{}: {who} {listens} on {it}. TIME_WAIT has no part in it.", taken.cannot());
    taken
        .finding("port_in_use", Severity::Warning, what)
        .because("bind() or listen() failures on this port", taken.failed(), EVENTS)
        .because("somebody listens on it", "yes", "sock_diag")
        .because("TIME_WAIT sockets on this port", taken.time_wait(), "sock_diag and events")
        .by(taken.callers().into_iter().chain(listeners))
        .in_short(&format!("cannot bind {}: {who} {listens} there", taken.ports()))
        .remedied([remedies::other_port(&taken.ports())])
}
