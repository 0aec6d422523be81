//! Owns: the rule for a bind() that fails because somebody else listens there: the wrong suspect is TIME_WAIT.
//! Must not know: where facts come from, how findings are shown.

use super::EVENTS;
use crate::doctor::facts::{BindFailure, Facts, Netns, Share};
use crate::doctor::finding::{Finding, Severity, Subject};
use crate::doctor::remedies;
use crate::doctor::words::{holders, process, times};

/// The name of its finding.
pub(super) const ID: &str = "port_in_use";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let all = facts.namespaces.iter().flat_map(|netns| netns.binds.iter().map(move |bind| (netns, bind)));
    all.filter_map(|(netns, bind)| of_bind(netns, bind)).collect()
}

fn of_bind(netns: &Netns, bind: &BindFailure) -> Option<Finding> {
    let served = netns.served.iter().find(|served| bind.port != 0 && served.port == bind.port)?;
    if !served.listening {
        return None;
    }
    let what = format!(
        "{} cannot bind port {} ({}): {} listens on it. TIME_WAIT has no part in it.",
        process(&bind.caller),
        bind.port,
        times(bind.failed),
        holders(&served.shares, |share| share.open, 0),
    );
    let caller = Share { process: bind.caller.clone(), failed: bind.failed, ..Share::default() };
    let subject =
        Subject { netns: Some(netns.netns), saddr: bind.saddr, sport: Some(bind.port), ..Subject::default() };
    Some(
        Finding::new(ID, Severity::Warning, what)
            .at(subject)
            .because("bind() or listen() failures on this port", bind.failed, EVENTS)
            .because("somebody listens on it", "yes", "sock_diag")
            .because("TIME_WAIT sockets on this port", served.time_wait, "sock_diag")
            .by(std::iter::once(caller).chain(served.shares.iter().cloned()).collect())
            .remedied([remedies::other_port(bind.port)]),
    )
}
