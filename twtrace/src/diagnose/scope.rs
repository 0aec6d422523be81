//! Owns: what a filter leaves to be spoken of. All is looked at, whoever is asked about: a pool counts whole, as whoever holds its ports
//! keeps them from whom the filter is about.
//! Must not know: rules.

use std::net::IpAddr;

use super::facts::{Call, Facts, Netns, Pile, Share, Side};
use super::finding::{Finding, Subject};
use crate::model::event::Role;
use crate::model::filter::Filter;

/// Leaves the places that the filter is about: namespaces, pools, ports.
pub(crate) fn keep(facts: &mut Facts, filter: &Filter) {
    if filter.is_empty() {
        return;
    }
    facts.about = filter.clone();
    facts.namespaces.retain(|netns| filter.netns.is_empty() || filter.netns.contains(&netns.netns));
    facts.namespaces.iter_mut().for_each(|netns| keep_within(filter, netns));
}

fn keep_within(filter: &Filter, netns: &mut Netns) {
    netns.tuples.retain(|tuple| keeps_peer(filter, tuple.daddr, tuple.dport));
    netns.served.retain(|served| keeps_port(filter, served.port));
    netns.refusals.retain(|refusal| match refusal.call {
        Call::Connect => keeps_peer(filter, refusal.address, refusal.port),
        Call::Bind => keeps_bind(filter, refusal.port),
    });
    netns.binds.retain(|bind| keeps_bind(filter, bind.port));
    if !is_about(filter, Role::Server) {
        netns.server_time_wait = 0;
    }
}

fn any<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

/// Pools are a client's, ports that connections come in on are a server's.
fn is_about(filter: &Filter, role: Role) -> bool {
    filter.roles.is_empty() || filter.roles.contains(&role)
}

fn keeps_address(filter: &Filter, address: IpAddr) -> bool {
    !filter.not.peers.iter().any(|net| net.contains(&address))
        && (filter.peers.is_empty() || filter.peers.iter().any(|net| net.contains(&address)))
        && filter.family.is_none_or(|family| (family == 4) == address.is_ipv4())
}

/// What connects to there.
fn keeps_peer(filter: &Filter, address: IpAddr, port: u16) -> bool {
    (is_about(filter, Role::Client) || is_about(filter, Role::Unknown))
        && any(&filter.dports, &port)
        && any(&filter.ports, &port)
        && !filter.not.ports.contains(&port)
        && keeps_address(filter, address)
}

/// What comes in on there.
fn keeps_port(filter: &Filter, port: u16) -> bool {
    is_about(filter, Role::Server) && keeps_bind(filter, port)
}

/// A port that somebody wants for himself, for whichever end.
fn keeps_bind(filter: &Filter, port: u16) -> bool {
    any(&filter.sports, &port) && any(&filter.ports, &port) && !filter.not.ports.contains(&port)
}

/// What is short in it is short for everybody in a network namespace, whoever was seen to suffer.
const OF_ALL: [&str; 1] = ["table_overflow"];

/// Whether those have a part in a finding whom the facts are to be about, or nobody knows whose it is.
pub(super) fn is_theirs(finding: &Finding, facts: &Facts) -> bool {
    let about = &facts.about;
    if OF_ALL.contains(&finding.id) || may_be_theirs(&finding.who, about) {
        return true;
    }
    // Others are named as they are in the way of those who draw from the pool that it is about.
    let Subject { netns, saddr, daddr, dport, .. } = finding.subject;
    let pools = facts.namespaces.iter().filter(|one| Some(one.netns) == netns).flat_map(|one| &one.tuples);
    let mut is_it = pools
        .filter(|tuple| (Some(tuple.saddr), Some(tuple.daddr), Some(tuple.dport)) == (saddr, daddr, dport));
    is_it.any(|tuple| may_be_theirs(&tuple.shares, about))
}

/// Leaves the pools and ports that those whom the filter is about have a part in, or may have, to be shown.
pub(super) fn show_theirs(facts: &mut Facts) {
    let Facts { about, namespaces, .. } = facts;
    for netns in namespaces {
        netns.tuples.retain(|tuple| may_be_theirs(&tuple.shares, about));
        netns.served.retain(|served| may_be_theirs(&served.shares, about));
    }
}

/// Whether somebody among these is one whom the filter is about, or may be; or most is nobody's whom anybody knows.
pub(super) fn may_be_theirs(who: &[Share], filter: &Filter) -> bool {
    // Asked of every pool in every picture of a view.
    if !filter.asks_for_owner() {
        return true;
    }
    let weight = |share: &Share| share.held() + share.created + share.failed + share.lost;
    let (known, unknown): (Vec<&Share>, Vec<&Share>) =
        who.iter().partition(|share| share.process.pid.is_some());
    let sum = |all: &[&Share]| all.iter().map(|share| weight(share)).sum::<u64>();
    known.is_empty()
        || known.iter().any(|share| share.process.is_of(filter) != Some(false))
        || sum(&unknown) > sum(&known)
}

/// Whether sockets that wait are at a place that the filter is about.
pub(super) fn has_pile(filter: &Filter, pile: &Pile) -> bool {
    match pile.side {
        Side::To(daddr, dport) => keeps_peer(filter, daddr, dport),
        Side::On(port) => keeps_port(filter, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::facts::{Pile, Process, Served, State, Tuple};
    use crate::diagnose::finding::Severity;
    use crate::engine::TupleKey;
    use crate::model::filter::Unwanted;

    fn facts() -> Facts {
        let tuple = |dport, created| {
            let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
            let mut tuple = Tuple::empty(&TupleKey { netns: 7, saddr, daddr, dport });
            tuple.shares.push(Share { created, ..Share::default() });
            tuple
        };
        let served = Served { port: 8080, ..Served::default() };
        let netns = Netns {
            netns: 7,
            tuples: vec![tuple(80, 1), tuple(443, 0)],
            served: vec![served],
            ..Netns::default()
        };
        Facts { namespaces: vec![netns], ..Facts::default() }
    }

    #[test]
    fn a_filter_leaves_what_it_says() {
        let left = |filter: Filter| {
            let mut facts = facts();
            keep(&mut facts, &filter);
            let netns = facts.namespaces.first();
            netns.map(|netns| {
                (netns.tuples.iter().map(|tuple| tuple.dport).collect::<Vec<_>>(), netns.served.len())
            })
        };
        assert_eq!(left(Filter::default()), Some((vec![80, 443], 1)));
        assert_eq!(left(Filter { netns: vec![8], ..Filter::default() }), None);
        assert_eq!(left(Filter { dports: vec![443], ..Filter::default() }), Some((vec![443], 1)));
        assert_eq!(left(Filter { ports: vec![443], ..Filter::default() }), Some((vec![443], 0)));
        assert_eq!(left(Filter { sports: vec![80], ..Filter::default() }), Some((vec![80, 443], 0)));
        assert_eq!(left(Filter { roles: vec![Role::Server], ..Filter::default() }), Some((vec![], 1)));
        assert_eq!(left(Filter { roles: vec![Role::Client], ..Filter::default() }), Some((vec![80, 443], 0)));
        assert_eq!(left(Filter { family: Some(6), ..Filter::default() }), Some((vec![], 1)));
        let peers = vec!["10.0.0.8/29".parse().unwrap()];
        assert_eq!(left(Filter { peers: peers.clone(), ..Filter::default() }), Some((vec![80, 443], 1)));
        let not = |not| Filter { not, ..Filter::default() };
        assert_eq!(left(not(Unwanted { peers, ..Unwanted::default() })), Some((vec![], 1)));
        assert_eq!(
            left(not(Unwanted { ports: vec![80, 8080], ..Unwanted::default() })),
            Some((vec![443], 0))
        );
    }

    #[test]
    fn what_waits_is_on_one_side() {
        let pile =
            |side| Pile { state: State::CloseWait, side, count: 13, longest_ms: 0, shares: Vec::new() };
        let (to, on) = (Side::To("10.0.0.9".parse().unwrap(), 80), Side::On(8080));
        let has = |filter: Filter| [to, on].map(|side| has_pile(&filter, &pile(side)));
        assert_eq!(has(Filter { roles: vec![Role::Server], ..Filter::default() }), [false, true]);
        assert_eq!(has(Filter { roles: vec![Role::Client], ..Filter::default() }), [true, false]);
        assert_eq!(has(Filter { dports: vec![80], ..Filter::default() }), [true, true]);
        assert_eq!(has(Filter { ports: vec![80], ..Filter::default() }), [true, false]);
        assert_eq!(has(Filter { pids: vec![1], ..Filter::default() }), [true, true]);
    }

    #[test]
    fn findings_are_told_that_those_asked_about_may_have_a_part_in() {
        let share = |pid: Option<u32>, comm: &str, uid, open| Share {
            process: Process { pid, comm: comm.into(), uid, ..Process::default() },
            open,
            ..Share::default()
        };
        let finding = |who: &[Share]| Finding::new("x", Severity::Notice, String::new()).by(who.to_vec());
        let (web, job) = (share(Some(7), "web", Some(33), 3), share(Some(9), "job", None, 3));
        let [some, most] = [2, 5].map(|open| share(None, "", None, open));
        let all = [
            finding(&[]),
            finding(std::slice::from_ref(&web)),
            finding(std::slice::from_ref(&job)),
            finding(&[job.clone(), web]),
            finding(std::slice::from_ref(&some)),
            finding(&[some, job.clone()]),
            finding(&[most, job]),
        ];
        let told = |about: Filter| {
            let facts = Facts { about, ..Facts::default() };
            all.each_ref().map(|finding| is_theirs(finding, &facts))
        };
        let comm = |comm: &str| Filter { comms: vec![comm.into()], ..Filter::default() };
        assert_eq!(told(Filter::default()), [true; 7]);
        assert_eq!(told(Filter { netns: vec![1], ..Filter::default() }), [true; 7]);
        assert_eq!(told(comm("web")), [true, true, false, true, true, false, true]);
        assert_eq!(
            told(Filter { pids: vec![9], ..Filter::default() }),
            [true, false, true, true, true, true, true]
        );
        // Of what is not known of a process nothing is assumed.
        assert_eq!(
            told(Filter { uids: vec![0], ..Filter::default() }),
            [true, false, true, true, true, true, true]
        );
        let not = Unwanted { comms: vec!["web".into()], ..Unwanted::default() };
        assert_eq!(told(Filter { not, ..Filter::default() }), [true, false, true, true, true, true, true]);
    }
}
