//! Owns: the rule for orphans that wait for a FIN that their peer does not send.
//! Must not know: where facts come from, how findings are shown.

use std::collections::HashMap;

use super::{about, pools, severity, with_ports, within};
use crate::diagnose::facts::{Facts, Netns};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::{Cause, Pool};
use crate::diagnose::words::{end, grouped, held_time_wait, out_of};
use crate::diagnose::{folklore, remedies};

/// The name of its finding.
const ID: &str = "fin_wait2_pileup";
/// So many in a namespace are worth a word, whatever they hold.
const MANY: u64 = 1000;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let mut worst: HashMap<u32, Pool<'_>> = HashMap::new();
    let rank = |pool: &Pool<'_>| (pool.tuple.failed, pool.tuple.peak.fin_wait2);
    for (pool, _) in pools(facts).filter(|(_, cause)| *cause == Cause::HalfClosed) {
        if worst.get(&pool.netns.netns).is_none_or(|known| rank(&pool) >= rank(known)) {
            worst.insert(pool.netns.netns, pool);
        }
    }
    let mut found = Vec::new();
    for netns in &facts.namespaces {
        match worst.get(&netns.netns) {
            Some(pool) => found.push(of_pool(pool)),
            None => found.extend(of_all(netns)),
        }
    }
    found
}

/// The worst pool: they have one and the same reason.
fn of_pool(pool: &Pool<'_>) -> Finding {
    let (netns, tuple) = (pool.netns, pool.tuple);
    let fails = if tuple.failed == 0 { "" } else { " connect() fails." };
    let what = format!(
        "{} of {} ports to {} wait in FIN_WAIT2 for a FIN that the peer does not send; closed by {}.{fails}",
        grouped(tuple.peak.fin_wait2.into()),
        out_of(pool.ports()),
        end(tuple.daddr, tuple.dport),
        held_time_wait(tuple),
    );
    let severity = severity(pool).min(Severity::Warning);
    let finding = with_ports(Finding::new(ID, severity, what).at(about(pool)), pool);
    let (held, to) = (grouped(tuple.peak.fin_wait2.into()), end(tuple.daddr, tuple.dport));
    let does = if tuple.failed == 0 { "fills ports" } else { "cannot connect" };
    let short = format!("{does} to {to}: {held} of {} in FIN_WAIT2", out_of(pool.ports()));
    let finding = finding.by(tuple.shares.clone()).in_short(&short);
    finish(finding, netns, tuple.peak.fin_wait2.into())
}

fn of_all(netns: &Netns) -> Option<Finding> {
    let waiting = netns.fin_wait2.filter(|waiting| *waiting >= MANY)?;
    let what = format!(
        "{} closed connections wait in FIN_WAIT2 for a FIN that their peers do not send.",
        grouped(waiting)
    );
    let finding = Finding::new(ID, Severity::Notice, what)
        .at(within(netns))
        .in_short_alone(format!("{} closed connections in FIN_WAIT2", grouped(waiting)));
    Some(finish(finding, netns, waiting))
}

fn finish(finding: Finding, netns: &Netns, waiting: u64) -> Finding {
    finding
        .because_known("TIME_WAIT sockets in FIN_WAIT2", netns.fin_wait2, "sock_diag")
        .because_known(
            "seconds that each waits at most",
            netns.settings.fin_timeout_s,
            "sysctl net.ipv4.tcp_fin_timeout",
        )
        .remedied(remedies::of_half_closed(netns, waiting))
        .but_not(folklore::of_half_closed())
}
