//! Owns: the list of all rules, and what most of them share.
//! Must not know: where facts come from, how findings are shown.
//!
//! A rule is a pure function from a case to findings. A file has those that are about one thing; what differs in a few words only is a
//! table in one ([`waiting`]).

mod bind;
mod folklore;
mod held;
mod no_cause;
mod refused;
mod segments;
mod tables;
mod taken;
mod time_wait;
mod waiting;

#[cfg(test)]
pub(super) mod tests;

use super::facts::{Facts, Netns, Ports, Tuple};
use super::finding::{Finding, Severity, Subject};
use super::pool::{Cause, Pool, Strain};
use super::scope::may_be_theirs;
use super::words::count;
use crate::model::filter::Filter;

/// A rule.
type Rule = fn(&Case<'_>) -> Vec<Finding>;

/// Every rule, in no order of importance; see [`super::diagnose`].
const ALL: &[Rule] = &[
    time_wait::ports_exhausted,
    time_wait::ports_running_out,
    held::ports_held_open,
    held::ports_bound,
    held::socket_range,
    waiting::by_state,
    no_cause::not_explained,
    held::range_half_full,
    bind::bound_source,
    time_wait::reuse_cannot_work,
    time_wait::loopback_backend,
    waiting::fin_wait2_pileup,
    tables::table_overflow,
    bind::server_cannot_bind,
    bind::ephemeral_port_taken,
    bind::own_ports_taken,
    refused::no_local_address,
    refused::refused_not_for_ports,
    bind::port_in_use,
    refused::tuple_taken,
    segments::syn_refused,
    segments::rst_kills,
    segments::closes_aborted,
    segments::counters_moved,
    tables::limits_near,
    tables::nat_ports_short,
    tables::server_side_harmless,
    folklore::fin_timeout,
    folklore::max_tw_buckets,
    folklore::tw_recycle,
    no_cause::not_seen,
];

pub(super) use no_cause::{NOT_EXPLAINED, nothing_wrong};

const EVENTS: &str = "events";
const SOCK_DIAG: &str = "sock_diag and events";
const RANGE: &str = "sysctl net.ipv4.ip_local_port_range less ip_local_reserved_ports";
const COMPUTED: &str = "computed";
const IPVS: &str = "/proc/net/ip_vs";

/// What rules look at: facts, and the pools of those who are asked about, each with the cause of its trouble, if it has any.
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    pools: Vec<(Pool<'a>, Option<Cause>)>,
}

impl<'a> Case<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        let observed_s = facts.observed_s();
        let of_netns = |netns| pools_of(netns, &facts.about, observed_s);
        Self { facts, pools: facts.namespaces.iter().flat_map(of_netns).collect() }
    }

    /// What every rule finds, in the order of the rules.
    pub(super) fn findings(&self) -> Vec<Finding> {
        ALL.iter().flat_map(|rule| rule(self)).collect()
    }

    /// The pools of which there is something to say, each with its cause.
    fn causes(&self) -> impl Iterator<Item = (&Pool<'a>, Cause)> {
        self.pools.iter().filter_map(|(pool, cause)| Some((pool, (*cause)?)))
    }

    /// The pools whose trouble has this cause.
    fn pools_with(&self, wanted: Cause) -> impl Iterator<Item = &Pool<'a>> {
        self.causes().filter(move |(_, cause)| *cause == wanted).map(|(pool, _)| pool)
    }
}

/// A namespace's pools of those who are asked about. Where bind() takes the ports from others, which fail, that is the one thing to say
/// of them and of it: the binder's own pools are that cause, and not another finding.
fn pools_of<'a>(netns: &'a Netns, about: &Filter, observed_s: f64) -> Vec<(Pool<'a>, Option<Cause>)> {
    let theirs = netns.tuples.iter().filter(|tuple| may_be_theirs(&tuple.shares, about));
    let pools = theirs.map(|tuple| Pool { netns, tuple, observed_s });
    let mut all: Vec<_> = pools.map(|pool| (pool, pool.cause())).collect();
    if all.iter().any(|(pool, cause)| *cause == Some(Cause::Bound) && pool.tuple.failed != 0) {
        let is_of_time_wait = |cause: &Option<Cause>| {
            matches!(cause, Some(Cause::RunningOut(_) | Cause::ReuseBroken(_) | Cause::LoopbackBackend))
        };
        all.retain(|(pool, cause)| pool.tuple.failed != 0 || !is_of_time_wait(cause));
    }
    all
}

/// A finding about a pool, with what each has to show.
fn of_pool(id: &'static str, pool: &Pool<'_>, what: String) -> Finding {
    with_ports(Finding::new(id, severity(pool), what).at(about(pool)), pool)
}

/// How connect() fares: `fails (13 failures)`, `is about to fail`.
fn fails(pool: &Pool<'_>) -> String {
    match pool.tuple.failed {
        0 => "is about to fail".to_owned(),
        failed => format!("fails ({})", count(failed, "failure")),
    }
}

/// The same of whoever calls it; goes before `connect to`.
fn cannot(pool: &Pool<'_>) -> &'static str {
    if pool.tuple.failed == 0 { "is about to fail to" } else { "cannot" }
}

fn about(pool: &Pool<'_>) -> Subject {
    towards(pool.netns, pool.tuple)
}

fn towards(netns: &Netns, tuple: &Tuple) -> Subject {
    let Tuple { saddr, daddr, dport, .. } = *tuple;
    Subject { saddr: Some(saddr), daddr: Some(daddr), dport: Some(dport), ..within(netns) }
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
            let is_far_gone = u64::from(pool.in_use(pool.tuple.now)) * 5 >= u64::from(most) * 4;
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
