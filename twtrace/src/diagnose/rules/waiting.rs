//! Owns: the rules for sockets that wait for somebody who does not act: `syn_unanswered`, `close_wait_pileup`, `fin_wait2_held` and
//! `close_unacknowledged`, a state each.
//! Must not know: where facts come from, how findings are shown.

use super::{SOCK_DIAG, about, pools, severity, with_ports};
use crate::diagnose::facts::{Facts, Netns, Pile, Share, Side, State};
use crate::diagnose::finding::{Finding, Remedy, Severity, Subject};
use crate::diagnose::pool::{Cause, Open, Pool, Strain};
use crate::diagnose::scope::has_pile;
use crate::diagnose::words::{count, end, grouped, held_open, holders, out_of, short_time};
use crate::diagnose::{folklore, remedies};

/// So many sockets of a kind are worth a word, whatever ports they hold.
pub(super) const ENOUGH: u64 = 10;

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

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    STORIES.iter().flat_map(|story| found(facts, story)).collect()
}

/// A finding for each pool that such sockets fill, and for each other which where many of them last.
fn found(facts: &Facts, story: &Story) -> Vec<Finding> {
    let is_ours = |cause: &Cause| *cause == Cause::HeldOpen(story.open);
    let full: Vec<Pool<'_>> =
        pools(facts).filter(|(_, cause)| is_ours(cause)).map(|(pool, _)| pool).collect();
    let mut all: Vec<Finding> = full.iter().map(|pool| of_pool(pool, story)).collect();
    for netns in &facts.namespaces {
        let is_told = |pile: &Pile| {
            full.iter().any(|pool| {
                let to = Side::To(pool.tuple.daddr, pool.tuple.dport);
                pool.netns.netns == netns.netns && pile.side == to
            })
        };
        let piles = netns.piles.iter().filter(|pile| has_pile(&facts.about, pile));
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

fn of_pool(pool: &Pool<'_>, story: &Story) -> Finding {
    let tuple = pool.tuple;
    let fails = match pool.strain() {
        Strain::Failing => format!("fails ({})", count(tuple.failed, "failure")),
        _ => "is about to fail".to_owned(),
    };
    let what = format!(
        "connect() to {} {fails}: {} of {} ports are in {}, {}.",
        end(tuple.daddr, tuple.dport),
        grouped(story.open.of(&tuple.peak).into()),
        out_of(pool.ports()),
        story.name,
        why(story, &held_open(tuple)),
    );
    let (held, to) = (grouped(story.open.of(&tuple.peak).into()), end(tuple.daddr, tuple.dport));
    let does = if tuple.failed == 0 { "is about to fail to" } else { "cannot" };
    with_ports(Finding::new(story.id, severity(pool), what).at(about(pool)), pool)
        .by(tuple.shares.clone())
        .in_short(&format!(
            "{does} connect to {to}: {held} of {} ports in {}",
            out_of(pool.ports()),
            story.name
        ))
}

fn of_pile(netns: &Netns, pile: &Pile, story: &Story) -> Finding {
    let mut subject = Subject { netns: Some(netns.netns), ..Subject::default() };
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
    super::with_ipvs(Finding::new(story.id, Severity::Warning, what), netns)
        .at(subject)
        .because("sockets in this state for 2 s or longer", pile.count, SOCK_DIAG)
        .because("the oldest was seen in it for, ms", pile.longest_ms, SOCK_DIAG)
        .by(pile.shares.clone())
        .in_short_or(
            &format!("has {} {which} in {}", grouped(pile.count), story.name),
            format!("{} {which} in {}", grouped(pile.count), story.name),
        )
}
