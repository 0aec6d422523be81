//! Owns: which remedies there are, which are considered for what, and which one is to be tried first.
//! Must not know: where facts come from, how they are shown.

mod client;
mod known;
mod server;
mod settings;
mod waiting;

pub(super) use server::{longer_connections, other_port, unbound_port};
pub(super) use settings::{drop_tw_recycle, restore_fin_timeout, restore_max_tw_buckets, rfc1337};
pub(super) use waiting::conntrack_room;

use super::facts::{AbortReasons, BindFailure, Netns, Tuple};
use super::finding::{Finding, Holds, Remedy, Severity};
use super::pool::{Pool, WhyNot};
use super::predict;
use super::range::Range;

/// Requests that a connection carries in what is predicted of connection reuse: few, so as not to promise too much.
pub(super) const REQUESTS: f64 = 10.0;

/// For a pool full of TIME_WAIT sockets.
pub(super) fn of_client(pool: &Pool<'_>) -> Vec<Remedy> {
    let mut all = vec![client::keep_alive(pool)];
    all.extend(client::unix_socket(pool));
    all.push(settings::tw_reuse(pool));
    all.push(client::peer_closes_first(pool));
    all.extend([settings::port_range(pool), client::more_addresses(pool)]);
    all
}

/// For a pool within this machine that is in no danger.
pub(super) fn of_loopback_backend(pool: &Pool<'_>) -> Vec<Remedy> {
    let mut all = vec![client::keep_alive(pool)];
    all.extend(client::unix_socket(pool));
    all.push(client::peer_closes_first(pool));
    all
}

/// For a pool whose reuse does not work.
pub(super) fn of_broken_reuse(pool: &Pool<'_>, why: WhyNot) -> Vec<Remedy> {
    let mut all = match why {
        WhyNot::Timestamps => vec![settings::timestamps(pool)],
        WhyNot::NotLoopback => vec![client::loopback_address(pool), settings::tw_reuse(pool)],
        WhyNot::TooYoung => vec![settings::reuse_delay(pool)],
    };
    all.push(client::keep_alive(pool));
    all.extend(client::unix_socket(pool));
    all.extend([client::peer_closes_first(pool), settings::port_range(pool), client::more_addresses(pool)]);
    all
}

/// For a pool that is more than half full.
pub(super) fn of_half_full(pool: &Pool<'_>) -> Vec<Remedy> {
    vec![settings::port_range_for_open(pool), client::more_addresses_for_open(pool)]
}

/// For a pool that open sockets hold.
pub(super) fn of_held_open(pool: &Pool<'_>) -> Vec<Remedy> {
    let mut all = vec![client::fewer_connections(pool)];
    all.extend(client::unix_socket(pool));
    all.extend([settings::port_range_for_open(pool), client::more_addresses_for_open(pool)]);
    all
}

/// For sources that are bound before connect().
/// `own`: the range that the sockets allow themselves, which no setting widens.
pub(super) fn of_bound_source(netns: &Netns, bind: &BindFailure, own: Option<Range>) -> Vec<Remedy> {
    let ports = own.map_or(netns.settings.ports.unwrap_or(0), |own| own.ports);
    let mut all = vec![client::bind_no_port(ports, bind)];
    all.extend(own.is_none().then(|| settings::port_range_for_bind(netns)));
    all
}

/// For ports that bind() took: `closed` of them on connections, `pins` without any.
pub(super) fn of_bound_ports(pool: &Pool<'_>, closed: u32, pins: u32) -> Vec<Remedy> {
    let mut all = Vec::new();
    all.extend((closed != 0).then(|| client::bind_no_port_of_others(pool, closed)));
    all.extend((pins != 0).then(waiting::release_ports));
    all.push(settings::port_range_for_open(pool));
    all
}

/// For sockets that have a range of their own.
pub(super) fn of_socket_range(pool: &Pool<'_>, range: Range) -> Vec<Remedy> {
    vec![waiting::wider_socket_range(pool, range)]
}

/// For SYNs that TIME_WAIT sockets refuse.
pub(super) fn of_refused_syns(netns: &Netns) -> Vec<Remedy> {
    let mut all = vec![waiting::keep_nat_ports()];
    all.extend((netns.settings.rfc1337 != Some(0)).then(|| settings::rfc1337_off(netns)));
    all
}

/// For closes that end in RSTs, by their reasons.
pub(super) fn of_aborts(reasons: &AbortReasons) -> Vec<Remedy> {
    vec![waiting::graceful_close(reasons)]
}

/// For connections that nobody answers.
pub(super) fn of_unanswered() -> Vec<Remedy> {
    vec![waiting::check_path(), waiting::connect_timeout()]
}

/// For a close that nobody acknowledges.
pub(super) fn of_unanswered_close() -> Vec<Remedy> {
    vec![waiting::check_path()]
}

/// For connections that the peer has closed and the program here has not.
pub(super) fn of_not_closed() -> Vec<Remedy> {
    vec![waiting::close_sockets(
        "the peer's FIN was received, and no close() has followed: no setting of the kernel ends such a socket",
        "close() when a read gives 0 bytes or an error, on every path; look for responses whose body is not closed and for \
         pools that keep what the peer has given up (an idle time shorter than the peer's)",
    )]
}

/// For connections that were shut down and are held.
pub(super) fn of_held_half_closed() -> Vec<Remedy> {
    vec![waiting::close_sockets(
        "shutdown() was called and close() was not; the kernel waits without limit for a descriptor that is open",
        "close() after shutdown() once the rest was read, with a time limit for the reading; as an orphan the socket then \
         lasts tcp_fin_timeout at most",
    )]
}

/// For orphans that wait for their peer's FIN, `waiting` of them.
pub(super) fn of_half_closed(netns: &Netns, waiting: u64) -> Vec<Remedy> {
    vec![server::peer_must_close(waiting), settings::fin_timeout(netns, waiting)]
}

/// For a table that is full; so many sockets a second want to be in it, where that is known.
pub(super) fn of_overflow(
    netns: &Netns,
    rate: Option<f64>,
    failures_s: f64,
    object_bytes: u64,
) -> Vec<Remedy> {
    let habits = netns.concerned.iter().find_map(|share| share.habits);
    let refused = netns.overflow as f64 / failures_s;
    vec![
        settings::max_tw_buckets(netns, rate, refused, object_bytes),
        client::keep_alive_for_table(habits.as_ref(), rate),
    ]
}

/// For a server that cannot bind: so many TIME_WAIT and other sockets are on its port, the last of the former for so many seconds. `was_set`:
/// whether the socket that failed has SO_REUSEADDR; `None` where that is not known of all.
pub(super) fn of_server(time_wait: u64, open: u64, left_s: u64, was_set: Option<bool>) -> Vec<Remedy> {
    vec![server::reuseaddr(time_wait, open, left_s, was_set)]
}

/// For a server whose port outgoing connections have.
pub(super) fn of_ephemeral_port(netns: &Netns, calls: &[&BindFailure]) -> Vec<Remedy> {
    vec![settings::reserve_ports(netns, calls)]
}

/// For a client that takes its source ports itself.
pub(super) fn of_own_ports(netns: &Netns, ports: u64) -> Vec<Remedy> {
    vec![server::unbound_ports(netns, ports)]
}

/// For addresses that are not here.
pub(super) fn of_no_address(netns: &Netns) -> Vec<Remedy> {
    vec![server::local_address(netns)]
}

/// For a NAT whose ports do not suffice.
pub(super) fn of_nat(tuples: &[&Tuple], budget: u32, hold_s: f64) -> Vec<Remedy> {
    vec![client::keep_alive_behind_nat(tuples, budget, hold_s), client::more_nat_addresses(budget, hold_s)]
}

/// What a pool serves for ever, in connections a second.
fn limit(pool: &Pool<'_>) -> f64 {
    predict::limit(pool.ports().unwrap_or(0), pool.hold_s())
}

/// A remedy of which only the name, the condition and the risk are known.
fn blank(id: &'static str, title: impl Into<String>, condition: &'static str, risk: &'static str) -> Remedy {
    Remedy {
        id,
        title: title.into(),
        condition,
        holds: Holds::Yes,
        because: String::new(),
        command: None,
        change: None,
        effects: Vec::new(),
        risk,
    }
}

/// A command that sets a sysctl in a namespace.
fn sysctl(netns: &Netns, setting: &str) -> String {
    format!("{}sysctl -w net.ipv4.{setting}", netns.enter)
}

/// The remedy that helps most with the worst that was found: one that can be typed comes before one that changes a program, what lifts the
/// limit further before the others, and of equals the one that is offered first. `None` where nothing presses, or nothing is known to help.
pub fn first(findings: &[Finding]) -> Option<(&Finding, &Remedy)> {
    let mut pressing = findings.iter().filter(|finding| finding.severity <= Severity::Warning);
    pressing.find_map(|finding| Some((finding, best(&finding.remedies)?)))
}

fn best(remedies: &[Remedy]) -> Option<&Remedy> {
    // Of equals `max_by` takes the last.
    let certain = remedies.iter().rev().filter(|remedy| remedy.holds == Holds::Yes);
    certain.max_by(|a, b| is_typed(a).cmp(&is_typed(b)).then(lift(a).total_cmp(&lift(b))))
}

/// A setting: its command stands by itself, or in words where it acts on another machine.
fn is_typed(remedy: &Remedy) -> bool {
    let names_one = |change: &String| change.contains("sysctl -w ");
    remedy.command.is_some() || remedy.change.as_ref().is_some_and(names_one)
}

/// How many times the limit that it lifts is higher with it; 1 where it lifts none.
fn lift(remedy: &Remedy) -> f64 {
    let limit = remedy.effects.iter().find(|effect| effect.what == "limit" && effect.before > 0.0);
    limit.map_or(1.0, |limit| limit.after / limit.before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::diagnose::facts::{Facts, Ports, Source};
    use crate::diagnose::rules::tests::{full, with_tuple};

    fn exhausted() -> Facts {
        with_tuple(full(Ports { time_wait: 1000, ..Ports::default() }, 13))
    }

    #[test]
    fn what_can_be_typed_and_lifts_the_limit_most_comes_first() {
        let mut findings = diagnose(&exhausted());
        let lifted = |id: &str| findings[0].remedies.iter().find(|remedy| remedy.id == id).map(lift).unwrap();
        assert!(lifted("keep_alive") < lifted("tw_reuse") && lifted("tw_reuse") < lifted("port_range"));
        assert_eq!(first(&findings).map(|(finding, _)| finding.id), Some("ports_exhausted"));
        assert_eq!(first(&findings).unwrap().1.id, "port_range");
        // What nobody knows to help is not what to begin with.
        for remedy in findings[0].remedies.iter_mut().filter(|remedy| remedy.id == "port_range") {
            remedy.holds = Holds::Unknown;
        }
        assert_eq!(first(&findings).unwrap().1.id, "tw_reuse");
        findings[0].remedies.retain(|remedy| remedy.command.is_none());
        assert_eq!(first(&findings).unwrap().1.id, "keep_alive");
        findings[0].severity = Severity::Notice;
        assert_eq!(first(&findings), None);
    }

    #[test]
    fn of_a_recording_it_is_the_same() {
        let told = Facts { source: Source::Recording, ..exhausted() };
        let findings = diagnose(&told);
        let (_, remedy) = first(&findings).unwrap();
        assert_eq!((remedy.id, &remedy.command), ("port_range", &None));
    }
}
