//! Owns: the rule for a server whose port an outgoing connection has.
//! Must not know: where facts come from, how findings are shown.
//!
//! A port that connect() chose is given to a bind() only if both sockets have SO_REUSEADDR (inet_csk_bind_conflict(),
//! net/ipv4/inet_connection_sock.c, 5.10 to 7.3), which clients do not set. So it does not matter what the server sets.

use super::taken::{On, Taken, of_kind};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::words::holders;
use crate::diagnose::{folklore, remedies};

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    of_kind(facts, On::Client).iter().map(finding).collect()
}

fn finding(taken: &Taken<'_>) -> Finding {
    let owners = taken.holders();
    let (time_wait, open) =
        owners.iter().fold((0, 0), |sum, share| (sum.0 + share.time_wait, sum.1 + share.open));
    let left = match taken.left_ms() {
        0 => String::new(),
        ms => format!(", the last for {} s more", ms.div_ceil(1000)),
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
        holders(&owners, |share| share.time_wait + share.open, 0),
    );
    let callers = taken.callers();
    taken
        .finding("ephemeral_port_taken", Severity::Critical, what)
        .because("sockets of outgoing connections on them, in TIME_WAIT", time_wait, "sock_diag and events")
        .because("the same, in other states", open, "sock_diag")
        .because(
            "the last of those in TIME_WAIT has left, s",
            taken.left_ms().div_ceil(1000),
            "sock_diag and events",
        )
        .by(owners.into_iter().chain(callers).collect())
        .remedied(remedies)
        .but_not(folklore::of_ephemeral_port())
        .in_short(&format!("cannot bind {}: {has}", taken.ports()))
}
