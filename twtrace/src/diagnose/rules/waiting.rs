//! Owns: the rules for sockets that wait for somebody who does not act: `syn_unanswered`, `close_wait_pileup`, `fin_wait2_held` and
//! `close_unacknowledged`, a state each, and for orphans that wait for their peer's FIN (`fin_wait2_pileup`).
//! Must not know: where facts come from, how findings are shown.

use std::collections::HashMap;

use super::{Case, SOCK_DIAG, cannot, fails, of_pool, with_ipvs, within};
use crate::diagnose::facts::{Netns, Pile, Share, Side, State};
use crate::diagnose::finding::{Finding, Remedy, Severity};
use crate::diagnose::pool::{Cause, Open, Pool};
use crate::diagnose::scope::has_pile;
use crate::diagnose::words::{end, grouped, held_open, held_time_wait, holders, out_of, peer, short_time};
use crate::diagnose::{folklore, remedies};

/// So many sockets of a kind are worth a word, whatever ports they hold.
const ENOUGH: u64 = 10;

/// One of the states.
struct Story {
    /// The name of its finding.
    id: &'static str,
    open: Open,
    state: State,
    /// The state's name.
    name: &'static str,
    /// How it goes on after "… are in STATE, ": says why, with the holder's name in which of `{}`.
    why: &'static str,
    remedies: fn() -> Vec<Remedy>,
    /// Why `tcp_fin_timeout` does nothing for them.
    fin_timeout: &'static str,
}

const STORIES: [Story; 4] = [
    Story {
        id: "syn_unanswered",
        open: Open::SynSent,
        state: State::SynSent,
        name: "SYN_SENT",
        why: "for nobody answers their SYN; {} waits",
        remedies: remedies::of_unanswered,
        fin_timeout: UNANSWERED,
    },
    Story {
        id: "close_wait_pileup",
        open: Open::CloseWait,
        state: State::CloseWait,
        name: "CLOSE_WAIT",
        why: "for the peer has closed and {} does not",
        remedies: remedies::of_not_closed,
        fin_timeout: "it is for orphans in FIN_WAIT2: these were not closed at all",
    },
    Story {
        id: "fin_wait2_held",
        open: Open::FinWait2,
        state: State::FinWait2Held,
        name: "FIN_WAIT2 with an open descriptor",
        why: "shut down and held open by {}, and the peer does not close; tcp_fin_timeout is for orphans and ends none of \
              them",
        remedies: remedies::of_held_half_closed,
        fin_timeout: "it ends orphans, and these have a descriptor",
    },
    Story {
        id: "close_unacknowledged",
        open: Open::Unacknowledged,
        state: State::Unacknowledged,
        name: "LAST_ACK, FIN_WAIT1 or CLOSING",
        why: "for the peer acknowledges no FIN: it is gone, or segments are dropped on the way; closed by {}",
        remedies: remedies::of_unanswered_close,
        fin_timeout: UNANSWERED,
    },
];

const UNANSWERED: &str = "it is for orphans in FIN_WAIT2, and these have not come so far";

/// Sockets that wait, by state: see [`STORIES`].
pub(super) fn by_state(case: &Case<'_>) -> Vec<Finding> {
    STORIES.iter().flat_map(|story| found(case, story)).collect()
}

/// A finding for each pool that such sockets fill, and for each other which where many of them last.
fn found(case: &Case<'_>, story: &Story) -> Vec<Finding> {
    let full: Vec<&Pool<'_>> = case.pools_with(Cause::HeldOpen(story.open)).collect();
    let mut all: Vec<Finding> = full.iter().map(|pool| of_full_pool(pool, story)).collect();
    for netns in &case.facts.namespaces {
        let is_told = |pile: &Pile| {
            full.iter().any(|pool| {
                let to = Side::To(pool.tuple.daddr, pool.tuple.dport);
                pool.netns.netns == netns.netns && pile.side == to
            })
        };
        let piles = netns.piles.iter().filter(|pile| has_pile(&case.facts.about, pile));
        let piles = piles.filter(|pile| pile.state == story.state && pile.count >= ENOUGH);
        all.extend(piles.filter(|pile| !is_told(pile)).map(|pile| of_pile(netns, pile, story)));
    }
    let finish = |finding: Finding| {
        finding.remedied((story.remedies)()).but_not(folklore::of_waiting(story.fin_timeout))
    };
    all.into_iter().map(finish).collect()
}

fn why(story: &Story, who: &str) -> String {
    story.why.replace("{}", who)
}

fn of_full_pool(pool: &Pool<'_>, story: &Story) -> Finding {
    let tuple = pool.tuple;
    let (held, to) = (grouped(story.open.of(&tuple.peak).into()), peer(tuple));
    let ports = out_of(pool.ports());
    let what = format!(
        "connect() to {to} {}: {held} of {ports} ports are in {}, {}.",
        fails(pool),
        story.name,
        why(story, &held_open(tuple)),
    );
    of_pool(story.id, pool, what).by(tuple.shares.clone()).in_short(&format!(
        "{} connect to {to}: {held} of {ports} ports in {}",
        cannot(pool),
        story.name
    ))
}

fn of_pile(netns: &Netns, pile: &Pile, story: &Story) -> Finding {
    let mut subject = within(netns);
    let which = match pile.side {
        Side::To(daddr, dport) => {
            (subject.daddr, subject.dport) = (Some(daddr), Some(dport));
            format!("connections to {}", end(daddr, dport))
        }
        Side::On(port) => {
            subject.sport = Some(port);
            format!("connections on port {port}")
        }
    };
    let who = holders(&pile.shares, |share: &Share| share.open, 0);
    let what = format!(
        "{} {which} are in {}, the oldest for {} or longer, {}.",
        grouped(pile.count),
        story.name,
        short_time(pile.longest_ms * 1000),
        why(story, &who),
    );
    with_ipvs(Finding::new(story.id, Severity::Warning, what), netns)
        .at(subject)
        .because("sockets in this state for 2 s or longer", pile.count, SOCK_DIAG)
        .because("the oldest was seen in it for, ms", pile.longest_ms, SOCK_DIAG)
        .by(pile.shares.clone())
        .in_short_or(
            &format!("has {} {which} in {}", grouped(pile.count), story.name),
            format!("{} {which} in {}", grouped(pile.count), story.name),
        )
}

/// The name of its finding.
const FIN_WAIT2_PILEUP: &str = "fin_wait2_pileup";
/// So many in a namespace are worth a word, whatever they hold.
const MANY_HALF_CLOSED: u64 = 1000;

/// Orphans that wait for a FIN that their peer does not send.
pub(super) fn fin_wait2_pileup(case: &Case<'_>) -> Vec<Finding> {
    let mut worst: HashMap<u32, &Pool<'_>> = HashMap::new();
    let rank = |pool: &Pool<'_>| (pool.tuple.failed, pool.tuple.peak.fin_wait2);
    for pool in case.pools_with(Cause::HalfClosed) {
        if worst.get(&pool.netns.netns).is_none_or(|known| rank(pool) >= rank(known)) {
            worst.insert(pool.netns.netns, pool);
        }
    }
    let mut found = Vec::new();
    for netns in &case.facts.namespaces {
        match worst.get(&netns.netns) {
            Some(pool) => found.push(of_half_closed(pool)),
            None => found.extend(of_all_half_closed(netns)),
        }
    }
    found
}

/// The worst pool: they have one and the same reason.
fn of_half_closed(pool: &Pool<'_>) -> Finding {
    let tuple = pool.tuple;
    let (held, to) = (grouped(tuple.peak.fin_wait2.into()), peer(tuple));
    let ports = out_of(pool.ports());
    let (fails, does) =
        if tuple.failed == 0 { ("", "fills ports") } else { (" connect() fails.", "cannot connect") };
    let what = format!(
        "{held} of {ports} ports to {to} wait in FIN_WAIT2 for a FIN that the peer does not send; closed by {}.{fails}",
        held_time_wait(tuple),
    );
    let mut finding = of_pool(FIN_WAIT2_PILEUP, pool, what)
        .by(tuple.shares.clone())
        .in_short(&format!("{does} to {to}: {held} of {ports} in FIN_WAIT2"));
    finding.severity = finding.severity.min(Severity::Warning);
    finish_half_closed(finding, pool.netns, tuple.peak.fin_wait2.into())
}

fn of_all_half_closed(netns: &Netns) -> Option<Finding> {
    let waiting = netns.fin_wait2.filter(|waiting| *waiting >= MANY_HALF_CLOSED)?;
    let what = format!(
        "{} closed connections wait in FIN_WAIT2 for a FIN that their peers do not send.",
        grouped(waiting)
    );
    let finding = Finding::new(FIN_WAIT2_PILEUP, Severity::Notice, what)
        .at(within(netns))
        .in_short_alone(format!("{} closed connections in FIN_WAIT2", grouped(waiting)));
    Some(finish_half_closed(finding, netns, waiting))
}

fn finish_half_closed(finding: Finding, netns: &Netns, waiting: u64) -> Finding {
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
