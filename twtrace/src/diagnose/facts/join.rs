//! Owns: how what events told of a namespace and what the kernel's lists showed become one.
//! Must not know: how either was come by.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::samples::{OnTuple, Sample, Samples};
use super::told::Told;
use super::{Netns, Ports, Process, Reach, Served, Share, Tuple};
use crate::engine::TupleKey;
use crate::model::ordering::Ordered as _;

/// Joins what events told of all namespaces with all looks at one of them, which events may not have been about.
pub fn join_all(namespaces: &mut Vec<Netns>, samples: &Samples, told: &Told<'_>) {
    let inode = samples.last.netns;
    let at = namespaces.iter().position(|netns| netns.netns == inode).unwrap_or_else(|| {
        namespaces.push(Netns { netns: inode, ..Netns::default() });
        namespaces.len() - 1
    });
    join(&mut namespaces[at], samples);
    told.tell(&mut namespaces[at], Some(samples));
}

/// Joins what events told of a namespace with all looks at it.
pub fn join(netns: &mut Netns, samples: &Samples) {
    let last = &samples.last;
    netns.name.clone_from(&last.name);
    netns.enter = last.enter.clone().unwrap_or_default();
    netns.is_closed = last.enter.is_none();
    netns.settings = last.settings.clone();
    (netns.conntrack, netns.ipvs) = (last.conntrack, last.ipvs);
    (netns.time_wait, netns.fin_wait2) = (samples.time_wait, Some(samples.fin_wait2));
    netns.peak_time_wait = netns.peak_time_wait.max(samples.peak_time_wait);
    (netns.pinned, netns.range_in_use) = (Some(samples.pinned), Some(samples.range_in_use));
    netns.lists_bound = last.lists_bound;
    netns.overflow = netns.overflow.max(samples.overflowed());
    netns.piles = samples.piles.all();
    netns.counters = samples.counted();
    netns.pins.clone_from(&samples.pins);
    join_tuples(netns, samples);
    join_served(netns, samples);
    for bind in netns.binds.iter_mut().filter(|bind| bind.port == 0) {
        let from =
            |tuple: &&Tuple| bind.saddr.is_none_or(|saddr| saddr == tuple.saddr) && tuple.peak.all() != 0;
        bind.destinations = netns.tuples.iter().filter(from).count() as u32;
    }
}

fn join_tuples(netns: &mut Netns, samples: &Samples) {
    let last = &samples.last;
    let mut seen: HashMap<TupleKey, &OnTuple> = samples.tuples.iter().map(|(key, on)| (*key, on)).collect();
    for tuple in &mut netns.tuples {
        match seen.remove(&tuple.key(netns.netns)) {
            Some(on) => join_tuple(tuple, on),
            // The list is later than the events: what it does not show is gone.
            None => tuple.now = Ports::default(),
        }
    }
    let rest = seen.into_iter().filter(|(_, on)| on.peak.all() != 0);
    netns.tuples.extend(rest.map(|(key, on)| {
        let mut tuple = Tuple::empty(&key);
        join_tuple(&mut tuple, on);
        tuple
    }));
    settle(netns, last);
}

/// Says of each pool what the namespace itself tells of it: how far it goes, whether it has timestamps.
pub fn settle(netns: &mut Netns, sample: &Sample) {
    adopt(netns);
    for tuple in &mut netns.tuples {
        tuple.reach = reach(tuple, &sample.addresses);
        tuple.no_source = no_source(tuple, &sample.addresses);
        let is_near = matches!(tuple.reach, Reach::Loopback | Reach::ThisHost);
        tuple.timestamps = match netns.settings.timestamps {
            Some(0) => Some(false),
            // Both ends are under this very setting.
            Some(_) if is_near => Some(true),
            _ => tuple.timestamps,
        };
    }
    let order = |tuple: &Tuple| (std::cmp::Reverse(tuple.peak.all()), tuple.daddr, tuple.dport, tuple.saddr);
    // Of each picture, and there may be thousands.
    netns.tuples.sort_by_key(order);
}

fn join_tuple(tuple: &mut Tuple, on: &OnTuple) {
    // Between two looks the tracker may have seen more.
    let missed = tuple.peak.time_wait.saturating_sub(on.peak.time_wait + on.peak.fin_wait2);
    (tuple.now, tuple.peak) = (on.now, on.peak);
    tuple.peak.time_wait += missed;
    tuple.timestamps = tuple.timestamps.or(on.timestamps);
    add_holders(&mut tuple.shares, &on.holders);
}

/// A connect() that failed may not have come as far as to have a source address: its failure belongs to the fullest pool
/// towards that destination.
fn adopt(netns: &mut Netns) {
    let (homeless, mut rest): (Vec<Tuple>, Vec<Tuple>) =
        netns.tuples.drain(..).partition(|tuple| tuple.saddr.is_unspecified());
    let to = |tuple: &Tuple| (tuple.daddr, tuple.dport);
    // The fullest, and of several the last.
    let mut homes: HashMap<(IpAddr, u16), usize> = HashMap::new();
    if !homeless.is_empty() {
        for (at, tuple) in rest.iter().enumerate() {
            let home = homes.entry(to(tuple)).or_insert(at);
            if tuple.peak.all() >= rest[*home].peak.all() {
                *home = at;
            }
        }
    }
    for tuple in homeless {
        let Some(home) = homes.get(&to(&tuple)).and_then(|at| rest.get_mut(*at)) else {
            homes.insert(to(&tuple), rest.len());
            rest.push(tuple);
            continue;
        };
        // What was held when it failed, where the view remembers that.
        if tuple.peak.all() > home.peak.all() {
            home.peak = tuple.peak;
        }
        home.failed += tuple.failed;
        home.failed_bound += tuple.failed_bound;
        home.shares = Share::by_process(home.shares.drain(..).chain(tuple.shares));
    }
    netns.tuples = rest;
}

fn add_holders(shares: &mut Vec<Share>, holders: &HashMap<Process, u64>) {
    let open = |(process, open): (&Process, &u64)| Share {
        process: process.clone(),
        open: *open,
        ..Share::default()
    };
    *shares = Share::by_process(shares.drain(..).chain(holders.iter().map(open)));
    Share::sort(shares);
}

/// What the kernel takes for loopback when `tcp_tw_reuse` is 2: an address of either end (tcp_twsk_unique(),
/// net/ipv4/tcp_ipv4.c, 5.10 to 7.3).
fn reach(tuple: &Tuple, own: &HashSet<IpAddr>) -> Reach {
    if tuple.saddr.is_loopback() || tuple.daddr.is_loopback() {
        Reach::Loopback
    } else if own.contains(&tuple.daddr) {
        Reach::ThisHost
    } else if own.is_empty() {
        Reach::Unknown
    } else {
        Reach::Elsewhere
    }
}

/// Why connect() to there must fail before a port is looked for.
fn no_source(tuple: &Tuple, own: &HashSet<IpAddr>) -> Option<&'static str> {
    if own.is_empty() {
        None
    } else if tuple.daddr.is_ipv6() && !own.iter().any(IpAddr::is_ipv6) {
        Some("it has no IPv6 address")
    } else if tuple.daddr.is_loopback() && tuple.daddr.is_ipv6() && !own.contains(&tuple.daddr) {
        Some("its loopback interface has no IPv6 address")
    } else if tuple.saddr.is_ipv6() && !tuple.saddr.is_unspecified() && !own.contains(&tuple.saddr) {
        // With IPv4 that is ENETUNREACH (ip_route_output_key_hash_rcu(), net/ipv4/route.c, 5.10 to 7.3).
        Some("the address that was bound is none of its own")
    } else {
        None
    }
}

fn join_served(netns: &mut Netns, samples: &Samples) {
    let listening = samples.locals.iter().filter(|(_, local)| local.listening).map(|(port, _)| *port);
    let wanted: HashSet<u16> = netns.binds.iter().map(|bind| bind.port).chain(listening).collect();
    for port in wanted {
        if port != 0 && !netns.served.iter().any(|served| served.port == port) {
            netns.served.push(Served { port, ..Served::default() });
        }
    }
    for served in &mut netns.served {
        let Some(local) = samples.locals.get(&served.port) else { continue };
        served.listening = local.listening;
        if local.listens_on.len() < super::samples::MOST_LISTENERS {
            served.listens_on.clone_from(&local.listens_on);
        }
        served.time_wait = served.time_wait.max(local.time_wait);
        served.open = local.open;
        (served.states, served.left_ms) = (local.states, Some(local.left_ms));
        add_holders(&mut served.shares, &local.holders);
    }
    netns.served.order_by_key(|served| (std::cmp::Reverse(served.time_wait), served.port));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::facts::Settings;

    fn tuple(saddr: &str, dport: u16) -> Tuple {
        let (saddr, daddr) = (saddr.parse().unwrap(), "10.0.0.9".parse().unwrap());
        Tuple::empty(&TupleKey { netns: 7, saddr, daddr, dport })
    }

    fn samples(peak: Ports) -> Samples {
        let mut samples = Samples::default();
        let on = OnTuple { now: peak, peak, ..OnTuple::default() };
        samples.tuples.insert(tuple("10.0.0.1", 80).key(7), on);
        samples
    }

    #[test]
    fn what_came_and_went_between_two_samples_counts() {
        let seen = Ports { time_wait: 30, fin_wait2: 3, established: 2, ..Ports::default() };
        let told = |time_wait| {
            let mut tuple = tuple("10.0.0.1", 80);
            tuple.peak.time_wait = time_wait;
            let mut netns = Netns { netns: 7, tuples: vec![tuple], ..Netns::default() };
            join(&mut netns, &samples(seen));
            netns.tuples[0].peak
        };
        assert_eq!(told(33), seen);
        assert_eq!(told(50), Ports { time_wait: 47, ..seen });
    }

    #[test]
    fn a_failure_without_a_source_belongs_to_the_fullest_pool_there() {
        let failed = |saddr: &str, dport, failed| Tuple {
            failed,
            shares: vec![Share { failed, ..Share::default() }],
            ..tuple(saddr, dport)
        };
        let mut full = tuple("10.0.0.1", 80);
        full.peak.time_wait = 30;
        let tuples = vec![tuple("10.0.0.2", 80), full, failed("0.0.0.0", 80, 5), failed("0.0.0.0", 443, 3)];
        let mut netns = Netns { netns: 7, tuples, ..Netns::default() };
        settle(&mut netns, &Sample::default());
        let told: Vec<_> = netns.tuples.iter().map(|t| (t.saddr.to_string(), t.dport, t.failed)).collect();
        let want = [("10.0.0.1", 80, 5), ("10.0.0.2", 80, 0), ("0.0.0.0", 443, 3)];
        assert_eq!(told, want.map(|(saddr, dport, failed)| (saddr.to_owned(), dport, failed)));
        assert_eq!(netns.tuples[0].shares[0].failed, 5);
    }

    #[test]
    fn near_ends_are_known_by_address_and_have_the_same_timestamps() {
        let own = HashSet::from(["10.0.0.9".parse().unwrap()]);
        let settled = |saddr: &str, addresses: &HashSet<IpAddr>, timestamps| {
            let settings = Settings { timestamps, ..Settings::default() };
            let mut netns = Netns { netns: 7, settings, tuples: vec![tuple(saddr, 80)], ..Netns::default() };
            settle(&mut netns, &Sample { addresses: addresses.clone(), ..Sample::default() });
            (netns.tuples[0].reach, netns.tuples[0].timestamps)
        };
        let (none, other) = (HashSet::new(), HashSet::from(["10.0.0.1".parse().unwrap()]));
        assert_eq!(settled("127.0.0.1", &none, Some(1)), (Reach::Loopback, Some(true)));
        assert_eq!(settled("10.0.0.1", &own, Some(1)), (Reach::ThisHost, Some(true)));
        assert_eq!(settled("10.0.0.1", &other, Some(1)), (Reach::Elsewhere, None));
        assert_eq!(settled("10.0.0.1", &other, Some(0)), (Reach::Elsewhere, Some(false)));
        assert_eq!(settled("10.0.0.1", &none, None), (Reach::Unknown, None));
    }
}
