//! Owns: which pools and ports a filter leaves to be spoken of. A pool itself is always counted whole: whoever holds its ports
//! keeps them from whom the filter is about.
//! Must not know: rules.

use super::facts::{Facts, Served, Tuple};
use crate::model::event::Role;
use crate::model::filter::Filter;

/// Leaves what the filter lets pass.
pub(crate) fn keep(facts: &mut Facts, filter: &Filter) {
    if filter.is_empty() {
        return;
    }
    facts.namespaces.retain(|netns| filter.netns.is_empty() || filter.netns.contains(&netns.netns));
    for netns in &mut facts.namespaces {
        netns.tuples.retain(|tuple| keeps_tuple(filter, tuple));
        netns.served.retain(|served| keeps_port(filter, served));
        if !is_about(filter, Role::Server) {
            netns.server_time_wait = 0;
        }
    }
}

fn any<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

/// Pools are a client's, ports that connections come in on are a server's.
fn is_about(filter: &Filter, role: Role) -> bool {
    filter.roles.is_empty() || filter.roles.contains(&role)
}

fn keeps_tuple(filter: &Filter, tuple: &Tuple) -> bool {
    (is_about(filter, Role::Client) || is_about(filter, Role::Unknown))
        && any(&filter.dports, &tuple.dport)
        && any(&filter.ports, &tuple.dport)
        && !filter.not.ports.contains(&tuple.dport)
        && !filter.not.peers.iter().any(|net| net.contains(&tuple.daddr))
        && (filter.peers.is_empty() || filter.peers.iter().any(|net| net.contains(&tuple.daddr)))
        && filter.family.is_none_or(|family| (family == 4) == tuple.daddr.is_ipv4())
        && (!is_personal(filter) || tuple.shares.iter().any(|share| share.created + share.failed != 0))
}

fn keeps_port(filter: &Filter, served: &Served) -> bool {
    is_about(filter, Role::Server)
        && any(&filter.sports, &served.port)
        && any(&filter.ports, &served.port)
        && !filter.not.ports.contains(&served.port)
}

/// Only events of some processes were looked at: what they have no part in is none of their business.
fn is_personal(filter: &Filter) -> bool {
    !Filter { roles: Vec::new(), ..filter.clone() }.only_conn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::facts::{Netns, Share};
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
        assert_eq!(left(Filter { pids: vec![1], ..Filter::default() }), Some((vec![80], 1)));
        assert_eq!(left(Filter { family: Some(6), ..Filter::default() }), Some((vec![], 1)));
        let peers = vec!["10.0.0.8/29".parse().unwrap()];
        assert_eq!(left(Filter { peers: peers.clone(), ..Filter::default() }), Some((vec![80, 443], 1)));
        let not = |not| Filter { not, ..Filter::default() };
        assert_eq!(left(not(Unwanted { peers, ..Unwanted::default() })), Some((vec![], 1)));
        assert_eq!(
            left(not(Unwanted { ports: vec![80, 8080], ..Unwanted::default() })),
            Some((vec![443], 0))
        );
        assert_eq!(left(not(Unwanted { pids: vec![1], ..Unwanted::default() })), Some((vec![80], 1)));
    }
}
