//! Owns: the rule for calls that are refused before a port is looked for, because there is no such address here.
//! Must not know: where facts come from, how findings are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{EVENTS, about, pools};
use crate::diagnose::facts::{Call, Facts, Netns, Refusal};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::pool::{Cause, Pool};
use crate::diagnose::words::{end, holders, times};
use crate::diagnose::{folklore, remedies};
use crate::model::event::Errno;

/// The name of its finding.
const ID: &str = "no_local_address";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let connects = pools(facts).filter_map(|(pool, cause)| match cause {
        Cause::NoSource(why) => Some(of_connect(&pool, why)),
        _ => None,
    });
    connects.chain(facts.namespaces.iter().flat_map(of_binds)).collect()
}

fn of_connect(pool: &Pool<'_>, why: &str) -> Finding {
    let tuple = pool.tuple;
    let callers = tuple.callers();
    let what = format!(
        "connect() to {} by {} fails {} before a port is looked for: the network namespace has no address to connect from, for \
         {why}. Ports are free.",
        end(tuple.daddr, tuple.dport),
        holders(&callers, |share| share.failed, 0),
        times(tuple.failed),
    );
    Finding::new(ID, Severity::Critical, what)
        .at(about(pool))
        .because("connect() failures", tuple.failed, EVENTS)
        .because("ports in use to there", tuple.peak.all(), super::SOCK_DIAG)
        .because("no address to connect from", why, "addresses of its interfaces")
        .by(callers)
        .remedied(remedies::of_no_address(pool.netns))
        .but_not(folklore::of_no_address())
        .in_short(&format!("cannot connect to {}: no local address", end(tuple.daddr, tuple.dport)))
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
        let callers = super::refused::callers(&refusals);
        let failed: u64 = refusals.iter().map(|refusal| refusal.failed).sum();
        let what = format!(
            "bind() of {address} by {} fails {} before a port is looked for: no interface of the network namespace has that \
             address. Ports are free.",
            holders(&callers, |share| share.failed, 0),
            times(failed),
        );
        Finding::new(ID, Severity::Critical, what)
            .at(Subject { netns: Some(netns.netns), saddr: Some(address), ..Subject::default() })
            .because("bind() failures with EADDRNOTAVAIL", failed, EVENTS)
            .by(callers)
            .remedied(remedies::of_no_address(netns))
            .but_not(folklore::of_no_address())
            .in_short(&format!("cannot bind {address}: no such local address"))
    };
    by_address.into_iter().map(finding).collect()
}
