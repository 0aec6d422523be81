//! Owns: what the rules for sockets that wait for somebody who does not act have in common.
//! Must not know: any of their stories.

use super::{SOCK_DIAG, about, pools, severity, with_ports};
use crate::diagnose::facts::{Facts, Netns, Pile, Share, Side, State};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::pool::{Cause, Open, Pool, Strain};
use crate::diagnose::scope::has_pile;
use crate::diagnose::words::{count, end, grouped, held_open, holders, out_of, short_time};

/// So many sockets of a kind are worth a word, whatever ports they hold.
pub(super) const ENOUGH: u64 = 10;

/// One of the states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story {
    pub(super) id: &'static str,
    pub(super) open: Open,
    pub(super) state: State,
    /// How it goes on after "… are in STATE, ": says why, with the holder's name in which of `{}`.
    pub(super) why: &'static str,
    /// The state's name.
    pub(super) name: &'static str,
}

/// A finding for each pool that such sockets fill, and for each other which where many of them last; before remedies.
pub(super) fn found(facts: &Facts, story: Story) -> Vec<Finding> {
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
    all
}

fn why(story: Story, who: &str) -> String {
    story.why.replace("{}", who)
}

fn of_pool(pool: &Pool<'_>, story: Story) -> Finding {
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

fn of_pile(netns: &Netns, pile: &Pile, story: Story) -> Finding {
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
