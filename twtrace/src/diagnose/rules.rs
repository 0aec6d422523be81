//! Owns: the list of all rules, and what most of them share.
//! Must not know: where facts come from, how findings are shown.
//!
//! A rule is a pure function from facts to findings. One rule, one file; what differs in a few words only is a table in one ([`waiting`]).

mod bound_source;
mod closes_aborted;
mod counters_moved;
mod ephemeral_port_taken;
mod fin_wait2_pileup;
mod folklore_fin_timeout;
mod folklore_max_tw_buckets;
mod folklore_tw_recycle;
mod half_full;
mod limits_near;
mod loopback_backend;
mod nat_ports_short;
mod no_local_address;
mod not_explained;
mod not_seen;
mod nothing_wrong;
mod own_ports_taken;
mod port_in_use;
mod ports_bound;
mod ports_exhausted;
mod ports_held_open;
mod ports_running_out;
mod refused;
mod reuse_cannot_work;
mod rst_kills;
mod server_cannot_bind;
mod server_side;
mod socket_range;
mod syn_refused;
mod table_overflow;
mod taken;
mod tuple_taken;
mod waiting;

#[cfg(test)]
pub(super) mod tests;

use super::facts::{Facts, Netns, Ports, Tuple};
use super::finding::{Finding, Severity, Subject};
use super::pool::{Cause, Pool, Strain};
use super::scope::may_be_theirs;

/// A rule.
pub type Rule = fn(&Facts) -> Vec<Finding>;

/// Every rule, in no order of importance; see [`super::diagnose`].
pub const ALL: &[Rule] = &[
    ports_exhausted::rule,
    ports_running_out::rule,
    ports_held_open::rule,
    ports_bound::rule,
    socket_range::rule,
    waiting::rule,
    not_explained::rule,
    half_full::rule,
    bound_source::rule,
    reuse_cannot_work::rule,
    loopback_backend::rule,
    fin_wait2_pileup::rule,
    table_overflow::rule,
    server_cannot_bind::rule,
    ephemeral_port_taken::rule,
    own_ports_taken::rule,
    no_local_address::rule,
    refused::rule,
    port_in_use::rule,
    tuple_taken::rule,
    syn_refused::rule,
    rst_kills::rule,
    closes_aborted::rule,
    counters_moved::rule,
    limits_near::rule,
    nat_ports_short::rule,
    server_side::rule,
    folklore_fin_timeout::rule,
    folklore_max_tw_buckets::rule,
    folklore_tw_recycle::rule,
    not_seen::rule,
];

pub(in crate::diagnose) use not_explained::ID as NOT_EXPLAINED;
/// What is said where no rule has anything to say.
pub(super) use nothing_wrong::rule as nothing_wrong;

const EVENTS: &str = "events";
const SOCK_DIAG: &str = "sock_diag and events";
const RANGE: &str = "sysctl net.ipv4.ip_local_port_range less ip_local_reserved_ports";
const COMPUTED: &str = "computed";
const IPVS: &str = "/proc/net/ip_vs";

/// Every pool of those who are asked about, with its cause. Where bind() takes the ports from others, which fail, that is the one thing to say
/// of them and of it: the binder's own pools are that cause, and not another finding.
fn pools(facts: &Facts) -> impl Iterator<Item = (Pool<'_>, Cause)> {
    let observed_s = facts.observed_s();
    facts.namespaces.iter().flat_map(move |netns| {
        let theirs = netns.tuples.iter().filter(|tuple| may_be_theirs(&tuple.shares, &facts.about));
        let pools = theirs.map(move |tuple| Pool { netns, tuple, observed_s });
        let all: Vec<_> = pools.filter_map(|pool| Some((pool, pool.cause()?))).collect();
        let is_bound = all.iter().any(|(pool, cause)| *cause == Cause::Bound && pool.tuple.failed != 0);
        all.into_iter().filter(move |(pool, cause)| {
            let is_of_time_wait =
                matches!(cause, Cause::RunningOut(_) | Cause::ReuseBroken(_) | Cause::LocalBackend);
            !(is_bound && is_of_time_wait && pool.tuple.failed == 0)
        })
    })
}

fn about(pool: &Pool<'_>) -> Subject {
    towards(pool.netns, pool.tuple)
}

fn towards(netns: &Netns, tuple: &Tuple) -> Subject {
    let Tuple { saddr, daddr, dport, .. } = *tuple;
    Subject {
        netns: Some(netns.netns),
        saddr: Some(saddr),
        sport: None,
        daddr: Some(daddr),
        dport: Some(dport),
    }
}

fn within(netns: &Netns) -> Subject {
    Subject { netns: Some(netns.netns), ..Subject::default() }
}

/// How bad it is that a pool is where it is.
fn severity(pool: &Pool<'_>) -> Severity {
    match pool.strain() {
        Strain::Failing => Severity::Critical,
        Strain::RunningOut(full_in_s) => {
            // What lasts for less than the life of a TIME_WAIT socket, and is most of the way there.
            let is_near = full_in_s.is_some_and(|seconds| seconds < super::predict::TIME_WAIT_S);
            let most = pool.ports().unwrap_or(u32::MAX);
            let is_far_gone = u64::from(pool.taken(pool.tuple.now)) * 5 >= u64::from(most) * 4;
            if is_near && is_far_gone { Severity::Critical } else { Severity::Warning }
        }
        Strain::Calm => Severity::Notice,
    }
}

/// What IPVS has, for what it may have a part in: it keeps closed connections as a NAT does, and drops SYNs of its own.
fn with_ipvs(finding: Finding, netns: &Netns) -> Finding {
    let Some(ipvs) = netns.ipvs else { return finding };
    finding
        .because("services of IPVS here", ipvs.services, IPVS)
        .because("connections through it, established", ipvs.active, IPVS)
        .because("connections through it, others: closed ones for up to 120 s", ipvs.inactive, IPVS)
}

/// What every finding about a pool has to show.
fn with_ports(finding: Finding, pool: &Pool<'_>) -> Finding {
    let Ports { time_wait, fin_wait2, established, .. } = pool.tuple.peak;
    let Ports { syn_sent, close_wait, fin_wait2_held, unacknowledged, others, .. } = pool.tuple.peak;
    let settings = &pool.netns.settings;
    // A port counts once: those beyond the range were chosen while it was another one, or asked for by number.
    let beyond = pool.ports().map_or(0, |ports| pool.tuple.peak.all().saturating_sub(ports));
    let mut finding = finding
        .because_known("ports that connect() can choose from", pool.ports(), RANGE)
        .because("ports in use at the peak", pool.tuple.peak.all(), SOCK_DIAG)
        .because("of those, in TIME_WAIT", time_wait, SOCK_DIAG);
    for (what, count) in [
        ("of those, outside of the range as it is now, at least", beyond),
        ("of those, in FIN_WAIT2 without a process", fin_wait2),
        ("of those, ESTABLISHED", established),
        ("of those, in SYN_SENT", syn_sent),
        ("of those, in CLOSE_WAIT", close_wait),
        ("of those, in FIN_WAIT2 with a descriptor", fin_wait2_held),
        ("of those, in LAST_ACK, FIN_WAIT1 or CLOSING", unacknowledged),
        ("of those, in other states", others),
    ] {
        if count != 0 {
            finding = finding.because(what, count, SOCK_DIAG);
        }
    }
    if let Some(pinned) = pool.netns.pinned.filter(|pinned| *pinned != 0) {
        finding = finding.because("ports pinned by bind() for all destinations", pinned, "sock_diag");
    }
    if pool.tuple.failed != 0 {
        finding = finding.because("connect() failures", pool.tuple.failed, EVENTS);
    }
    let rate = (!pool.netns.pools_are_parts).then(|| pool.rate());
    finding = finding.because_known("TIME_WAIT sockets made a second", rate, EVENTS);
    if let Some(ports) = pool.ports() {
        let limit = super::predict::limit(ports, pool.hold_s());
        finding = finding.because("sustainable connections/s (ports ÷ time in TIME_WAIT)", limit, COMPUTED);
    }
    if pool.tuple.reused != 0 {
        finding = finding.because("ports that connect() took from TIME_WAIT", pool.tuple.reused, EVENTS);
    }
    finding.because_known("tcp_tw_reuse", settings.tw_reuse, "sysctl net.ipv4.tcp_tw_reuse")
}
