//! Owns: the rule for sockets that may only use a part of the namespace's ports, all of which are taken.
//! Must not know: where facts come from, how findings are shown.

use super::{EVENTS, about, pools, severity, with_ports};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::{Cause, Pool, Range};
use crate::diagnose::words::{count, end, grouped, holders, out_of};
use crate::diagnose::{folklore, remedies};

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
    let to = end(tuple.daddr, tuple.dport);
    let what = format!(
        "connect() to {to} fails ({}): {}, the only {} of {} {} there, {} in use, and of the namespace's {} ports {} are. {}",
        count(tuple.failed, "failure"),
        ports(range),
        if range.ports == 1 { "one that sockets" } else { "ones that sockets" },
        holders(&callers, |share| share.failed, 0),
        if range.is_looked_at { "may have" } else { "had" },
        if range.ports == 1 { "is" } else { "are" },
        out_of(pool.ports()),
        grouped(tuple.peak.all().into()),
        if range.is_looked_at {
            "These sockets have a range of their own (IP_LOCAL_PORT_RANGE)."
        } else {
            "So it is where sockets have a range of their own (IP_LOCAL_PORT_RANGE)."
        },
    );
    evidence(Finding::new("socket_range", severity(pool), what).at(about(pool)), pool, range)
        .by(callers)
        .remedied(remedies::of_socket_range(pool, range))
        .but_not(folklore::of_socket_range())
        .in_short(&format!(
            "cannot connect to {to}: {} that its sockets allow themselves {} in use",
            if range.ports == 1 {
                "the one port".to_owned()
            } else {
                format!("all {} ports", grouped(range.ports.into()))
            },
            if range.ports == 1 { "is" } else { "are" },
        ))
}

fn evidence(finding: Finding, pool: &Pool<'_>, range: Range) -> Finding {
    let finding = with_ports(finding, pool);
    if !range.is_looked_at {
        return finding
            .because("ports in a row that the caller was on, all of them in use", range.ports, EVENTS)
            .because("the option itself", "not looked at", "inferred from the ports");
    }
    finding
        .because("ports that the sockets' own range allows", range.ports, EVENTS)
        .because("the lowest of them", u32::from(range.low), EVENTS)
        .because("the highest of them", u32::from(range.high), EVENTS)
        .because("connect() failures of sockets with that option", pool.tuple.ranged.calls, EVENTS)
}

/// `all 11 ports from 43000 to 43010`
fn ports(range: Range) -> String {
    if range.low == range.high {
        return format!("port {}", range.low);
    }
    format!("all {} ports from {} to {}", grouped(range.ports.into()), range.low, range.high)
}
