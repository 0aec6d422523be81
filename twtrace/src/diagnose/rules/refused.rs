//! Owns: the rules for calls that fail though ports are free: for a reason of their own (`refused_not_for_ports`), for there is no such
//! address here (`no_local_address`), or as that connection exists (`tuple_taken`).
//! Must not know: where facts come from, how findings are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Case, EVENTS, RANGE, SOCK_DIAG, about, towards, within};
use crate::diagnose::facts::{Call, Netns, Refusal, Share, Tuple};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::pool::{Cause, Pool};
use crate::diagnose::words::{end, failing, peer, times};
use crate::diagnose::{folklore, remedies};
use crate::model::event::Errno;

/// Of what happens to everybody now and then, so many are worth a word.
const MANY: u64 = 10;

/// Calls that fail for a reason that has nothing to do with ports.
pub(super) fn refused_not_for_ports(case: &Case<'_>) -> Vec<Finding> {
    case.facts.namespaces.iter().flat_map(of_refusals).collect()
}

/// What a call that returned this met with; `None`: it is no failure.
fn meaning(errno: Errno) -> Option<(Severity, &'static str)> {
    Some(match errno {
        Errno::Intr | Errno::Again | Errno::Already | Errno::IsConn => return None,
        Errno::Acces | Errno::Perm => (
            Severity::Warning,
            "a routing rule, a firewall, a cgroup's BPF program or a missing capability refuses it",
        ),
        Errno::NetUnreach | Errno::HostUnreach | Errno::NetDown | Errno::HostDown => {
            (Severity::Warning, "there is no route to there, or nobody answers on the way")
        }
        Errno::TimedOut => (Severity::Warning, "nobody answers: a firewall drops it, or the peer is gone"),
        Errno::ConnRefused | Errno::ConnReset => {
            (Severity::Notice, "nobody listens there, or the peer refuses it")
        }
        Errno::NoBufs | Errno::NoMem | Errno::NFile | Errno::MFile => {
            (Severity::Warning, "memory or descriptors are short")
        }
        _ => (Severity::Notice, "that is what the call returned"),
    })
}

fn of_refusals(netns: &Netns) -> Vec<Finding> {
    let mut alike: BTreeMap<(Call, IpAddr, u16, Errno), Vec<&Refusal>> = BTreeMap::new();
    for refusal in &netns.refusals {
        let Refusal { call, address, port, errno, .. } = *refusal;
        if (call, errno) != (Call::Bind, Errno::AddrNotAvail) {
            alike.entry((call, address, port, errno)).or_default().push(refusal);
        }
    }
    alike.values().filter_map(|refusals| of_alike(netns, refusals)).collect()
}

fn of_alike(netns: &Netns, refusals: &[&Refusal]) -> Option<Finding> {
    let Refusal { call, address, port, errno, .. } = **refusals.first()?;
    let failed: u64 = refusals.iter().map(|refusal| refusal.failed).sum();
    let (severity, means) = meaning(errno)?;
    if severity == Severity::Notice && failed < MANY {
        return None;
    }
    let callers = callers(refusals);
    let mut subject = within(netns);
    let asked = match call {
        Call::Connect => {
            (subject.daddr, subject.dport) = (Some(address), Some(port));
            format!("connect() to {}", end(address, port))
        }
        Call::Bind => {
            (subject.saddr, subject.sport) = (Some(address), Some(port));
            format!("bind() of {}", end(address, port))
        }
    };
    let what = format!(
        "{asked} by {} fails {} with {errno}: {means}. That has nothing to do with ports or TIME_WAIT.",
        failing(&callers),
        times(failed),
    );
    let finding = Finding::new("refused_not_for_ports", severity, what).at(subject).because(
        "calls that failed",
        failed,
        EVENTS,
    );
    let short = match call {
        Call::Connect => format!("cannot connect to {}: {errno}", end(address, port)),
        Call::Bind => format!("cannot bind {}: {errno}", end(address, port)),
    };
    Some(finding.because("what they returned", errno.word(), EVENTS).by(callers).in_short(&short))
}

/// Who asked, most first.
fn callers(refusals: &[&Refusal]) -> Vec<Share> {
    let shares = refusals.iter().map(|refusal| Share::failing(&refusal.caller, refusal.failed));
    Share::most_first(shares, |share| share.failed)
}

/// The name of its finding.
const NO_ADDRESS: &str = "no_local_address";

/// Calls that are refused before a port is looked for, because there is no such address here.
pub(super) fn no_local_address(case: &Case<'_>) -> Vec<Finding> {
    let connects = case.causes().filter_map(|(pool, cause)| match cause {
        Cause::NoSource(why) => Some(of_connect(pool, why)),
        _ => None,
    });
    connects.chain(case.facts.namespaces.iter().flat_map(of_binds)).collect()
}

fn of_connect(pool: &Pool<'_>, why: &str) -> Finding {
    let tuple = pool.tuple;
    let callers = tuple.callers();
    let what = format!(
        "connect() to {} by {} fails {} before a port is looked for: the network namespace has no address to connect from, for \
         {why}. Ports are free.",
        peer(tuple),
        failing(&callers),
        times(tuple.failed),
    );
    Finding::new(NO_ADDRESS, Severity::Critical, what)
        .at(about(pool))
        .because("connect() failures", tuple.failed, EVENTS)
        .because("ports in use to there", tuple.peak.all(), SOCK_DIAG)
        .because("no address to connect from", why, "addresses of its interfaces")
        .by(callers)
        .remedied(remedies::of_no_address(pool.netns))
        .but_not(folklore::of_no_address())
        .in_short(&format!("cannot connect to {}: no local address", peer(tuple)))
}

/// bind() says so of nothing else: the port is looked at afterwards (__inet_bind(), net/ipv4/af_inet.c, 5.10
/// to 7.3).
fn of_binds(netns: &Netns) -> Vec<Finding> {
    let mut by_address: BTreeMap<IpAddr, Vec<&Refusal>> = BTreeMap::new();
    let all = netns.refusals.iter();
    for refusal in all.filter(|one| one.call == Call::Bind && one.errno == Errno::AddrNotAvail) {
        by_address.entry(refusal.address).or_default().push(refusal);
    }
    let finding = |(address, refusals): (IpAddr, Vec<&Refusal>)| {
        let callers = callers(&refusals);
        let failed: u64 = refusals.iter().map(|refusal| refusal.failed).sum();
        let what = format!(
            "bind() of {address} by {} fails {} before a port is looked for: no interface of the network namespace has that \
             address. Ports are free.",
            failing(&callers),
            times(failed),
        );
        Finding::new(NO_ADDRESS, Severity::Critical, what)
            .at(Subject { saddr: Some(address), ..within(netns) })
            .because("bind() failures with EADDRNOTAVAIL", failed, EVENTS)
            .by(callers)
            .remedied(remedies::of_no_address(netns))
            .but_not(folklore::of_no_address())
            .in_short(&format!("cannot bind {address}: no such local address"))
    };
    by_address.into_iter().map(finding).collect()
}

/// A connect() from a port that the caller bound itself and whose connection exists already.
pub(super) fn tuple_taken(case: &Case<'_>) -> Vec<Finding> {
    let all =
        case.facts.namespaces.iter().flat_map(|netns| netns.tuples.iter().map(move |tuple| (netns, tuple)));
    // Where the pool is exhausted as well, that is the thing to say.
    all.filter(|(_, tuple)| tuple.taken != 0 && tuple.failed == 0)
        .map(|(netns, tuple)| of_taken(netns, tuple))
        .collect()
}

fn of_taken(netns: &Netns, tuple: &Tuple) -> Finding {
    let callers = tuple.callers();
    let what = format!(
        "connect() to {} fails {} from a port that {} bound itself: that connection exists already.",
        peer(tuple),
        times(tuple.failed_bound),
        failing(&callers),
    );
    Finding::new("tuple_taken", Severity::Critical, what)
        .at(towards(netns, tuple))
        .because("connect() failures from a bound port", tuple.failed_bound, EVENTS)
        .because_known("ports that connect() could choose from by itself", netns.settings.ports, RANGE)
        .because("of those, in use", tuple.peak.all(), SOCK_DIAG)
        .by(callers)
        .remedied([remedies::unbound_port(netns, tuple)])
        .in_short(&format!(
            "cannot connect to {} from a port that it bound: that connection exists",
            peer(tuple)
        ))
}
