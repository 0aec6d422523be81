//! Owns: the rule for sockets that may only use a part of the namespace's ports, all of which are taken.
//! Must not know: where facts come from, how findings are shown.

use super::{EVENTS, about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Pool, Range};
use crate::diagnose::words::{count, end, grouped, holders, out_of};
use crate::diagnose::{folklore, remedies};

/// The name of its finding.
pub(super) const ID: &str = "socket_range";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let found = pools(facts).filter_map(|(pool, cause)| match cause {
        Cause::OwnRange(range) => Some(finding(&pool, range)),
        _ => None,
    });
    found.collect()
}

fn finding(pool: &Pool<'_>, range: Range) -> Finding {
    let tuple = pool.tuple;
    let callers = tuple.callers();
    let what = format!(
        "connect() to {} fails ({}): all {} ports from {} to {}, the only ones that sockets of {} had there, are in use, and \
         of the namespace's {} ports {} are. So it is where sockets have a range of their own (IP_LOCAL_PORT_RANGE).",
        end(tuple.daddr, tuple.dport),
        count(tuple.failed, "failure"),
        grouped(range.ports.into()),
        range.low,
        range.high,
        holders(&callers, |share| share.failed, 0),
        out_of(pool.ports()),
        grouped(tuple.peak.all().into()),
    );
    with_ports(Finding::new(ID, severity(pool), what).at(about(pool)), pool)
        .because("ports in a row that the caller was on, all of them in use", range.ports, EVENTS)
        .because("the option itself", "not looked at", "inferred from the ports")
        .by(callers)
        .remedied(remedies::of_socket_range(pool, range))
        .but_not(folklore::of_socket_range())
}
