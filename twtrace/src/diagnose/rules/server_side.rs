//! Owns: the rule for many TIME_WAIT sockets on a server's side, which harm nobody.
//! Must not know: where facts come from, how findings are shown.

use super::within;
use crate::diagnose::facts::{Facts, Netns, Served, Share};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::scope::may_be_theirs;
use crate::diagnose::words::{grouped, holders};
use crate::diagnose::{folklore, predict, remedies};

/// So many make people ask.
const MANY: u64 = 500;
/// A socket's size where nobody may read it, in bytes (`tw_sock_TCP` on 5.10 to 7.3: 248 to 264).
const OBJECT_BYTES: u64 = 256;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let is_much = |netns: &&Netns| {
        netns.server_time_wait >= MANY
            && netns.server_time_wait * 2 >= netns.time_wait
            // Close to the limit they are no longer harmless.
            && netns.overflow == 0
            && netns.settings.max_tw_buckets.is_none_or(|most| netns.time_wait * 2 <= u64::from(most))
    };
    facts.namespaces.iter().filter(is_much).filter_map(|netns| finding(netns, facts)).collect()
}

/// `None` where none of those who are asked about serves.
fn finding(netns: &Netns, facts: &Facts) -> Option<Finding> {
    let theirs = netns.served.iter().filter(|served| may_be_theirs(&served.shares, &facts.about));
    let served: Option<&Served> = theirs.max_by_key(|served| served.time_wait);
    if served.is_none() && !netns.served.is_empty() {
        return None;
    }
    let shares: Vec<Share> = served.map(|served| served.shares.clone()).unwrap_or_default();
    let object_bytes = facts.slab.map_or(OBJECT_BYTES, |slab| slab.object_bytes);
    let bytes = predict::memory(netns.server_time_wait, object_bytes);
    let what = format!(
        "{} TIME_WAIT sockets are on a server's side (port {}, closed first by {}): they take {} of memory and no \
         ephemeral port. Nothing needs to be done.",
        grouped(netns.server_time_wait),
        served.map_or(0, |served| served.port),
        holders(&shares, |share| share.time_wait.max(share.created), 0),
        crate::model::figures::bytes(bytes),
    );
    let mut finding = Finding::new("server_side_harmless", Severity::Notice, what)
        .at(within(netns))
        .because("TIME_WAIT sockets on a server's side", netns.server_time_wait, "sock_diag")
        .because("of all TIME_WAIT sockets", netns.time_wait, "sock_diag")
        .because("their memory, bytes", bytes, super::COMPUTED)
        .because_known(
            "tcp_max_tw_buckets",
            netns.settings.max_tw_buckets,
            "sysctl net.ipv4.tcp_max_tw_buckets",
        );
    if let Some(slab) = facts.slab {
        finding = finding.because("slab of the whole machine, bytes", slab.bytes, "/proc/slabinfo");
    }
    let finding = finding
        .by(shares)
        .remedied([remedies::longer_connections(netns, facts.observed_s())])
        .but_not(folklore::of_server_side())
        .in_short_alone(format!(
            "{} TIME_WAIT sockets on a server's side, which do no harm",
            grouped(netns.server_time_wait)
        ));
    Some(finding)
}
