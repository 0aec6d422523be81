//! Owns: the rule for clients that bind a source address before connect() and so share one pool for all destinations.
//! Must not know: where facts come from, how findings are shown.

use super::{EVENTS, RANGE};
use crate::diagnose::facts::{BindFailure, Facts, Netns, Share};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::range::Range;
use crate::diagnose::words::{grouped, process, times};
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    facts.namespaces.iter().filter_map(of_namespace).collect()
}

fn of_namespace(netns: &Netns) -> Option<Finding> {
    let failing: Vec<&BindFailure> = netns.binds.iter().filter(|bind| bind.port == 0).collect();
    let worst = failing.iter().max_by_key(|bind| bind.failed)?;
    let failed: u64 = failing.iter().map(|bind| bind.failed).sum();
    let from = worst.saddr.map_or_else(|| "a source address".to_owned(), |saddr| saddr.to_string());
    let own = Range::of_sockets(&worst.ranged, &netns.settings);
    let ports = own.map(|own| own.ports).or(netns.settings.ports);
    let what = format!(
        "{} binds {from} before connect(), and bind() fails {} with EADDRINUSE: without IP_BIND_ADDRESS_NO_PORT all \
         destinations share one pool of {} ports{}.",
        process(&worst.caller),
        times(failed),
        ports.map_or_else(|| "so many".to_owned(), |ports| grouped(ports.into())),
        own.map_or_else(String::new, |own| {
            format!(", {} to {}, which its sockets set with IP_LOCAL_PORT_RANGE", own.low, own.high)
        }),
    );
    let who = failing.iter().map(|bind| Share {
        process: bind.caller.clone(),
        failed: bind.failed,
        ..Share::default()
    });
    let subject = Subject { netns: Some(netns.netns), saddr: worst.saddr, ..Subject::default() };
    let finding = Finding::new("bound_source", Severity::Critical, what)
        .at(subject)
        .because("bind() failures that asked for any port", failed, EVENTS)
        .because_known("ports that bind() can choose from", ports, RANGE)
        .because_known("ports of the range in use, all destinations", netns.range_in_use, "sock_diag")
        .because("destinations of the caller", worst.destinations, "sock_diag and events");
    Some(
        finding
            .by(who.collect())
            .remedied(remedies::of_bound_source(netns, worst, own))
            .but_not(folklore::of_bound_source())
            .in_short(&format!("cannot bind {from}: no port is left, as all destinations share them")),
    )
}
