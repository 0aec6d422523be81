//! Owns: the rule for a server that cannot bind its port again while old connections hold it.
//! Must not know: where facts come from, how findings are shown.

use super::EVENTS;
use crate::doctor::facts::{BindFailure, Facts, Netns, Served, Share};
use crate::doctor::finding::{Finding, Severity, Subject};
use crate::doctor::words::{count, process, times};
use crate::doctor::{folklore, remedies};

/// The name of its finding.
pub(super) const ID: &str = "server_cannot_bind";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let all = facts.namespaces.iter().flat_map(|netns| netns.binds.iter().map(move |bind| (netns, bind)));
    all.filter_map(|(netns, bind)| of_bind(netns, bind)).collect()
}

fn of_bind(netns: &Netns, bind: &BindFailure) -> Option<Finding> {
    let served: &Served = netns.served.iter().find(|served| bind.port != 0 && served.port == bind.port)?;
    // A listener, or nothing that anybody saw, is another story.
    if served.listening || served.time_wait + served.open == 0 {
        return None;
    }
    let open =
        if served.open == 0 { String::new() } else { format!(" and {}", count(served.open, "open socket")) };
    let what = format!(
        "{} cannot bind port {} ({}): {}{open} of earlier connections hold it, and it does not set SO_REUSEADDR.",
        process(&bind.caller),
        bind.port,
        times(bind.failed),
        count(served.time_wait, "TIME_WAIT socket"),
    );
    let caller = Share { process: bind.caller.clone(), failed: bind.failed, ..Share::default() };
    let who = std::iter::once(caller).chain(served.shares.iter().cloned());
    let subject =
        Subject { netns: Some(netns.netns), saddr: bind.saddr, sport: Some(bind.port), ..Subject::default() };
    Some(
        Finding::new(ID, Severity::Critical, what)
            .at(subject)
            .because("bind() failures on this port", bind.failed, EVENTS)
            .because("TIME_WAIT sockets on this port", served.time_wait, "sock_diag")
            .because("other sockets on this port", served.open, "sock_diag")
            .because("somebody listens on it", "no", "sock_diag")
            .by(who.collect())
            .remedied(remedies::of_server(served))
            .but_not(folklore::of_server()),
    )
}
