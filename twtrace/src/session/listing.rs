//! Owns: what the kernel lists when tracing begins, or after a loss: the TIME_WAIT sockets and the listening ports of
//! every network namespace that can be reached.
//! Must not know: the tracker's insides, views.

use std::collections::HashSet;

use crate::event::Role;
use crate::limitation::{Limitation, What};
use crate::net::netns::{Netns, discover};
use crate::net::sockdiag::{self, DiagSocket, States};
use crate::tracker::Seed;

/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: u8 = 10;

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) seeds: Vec<Seed>,
    /// Ports in LISTEN, by network namespace.
    pub(super) listeners: HashSet<(u32, u16)>,
    /// The namespaces that could be listed.
    pub(super) listed: HashSet<u32>,
    /// What could not be.
    pub(super) limitations: Vec<Limitation>,
}

/// Lists every namespace, or only those in `only` where there are any. `now_ns` is CLOCK_MONOTONIC.
pub(super) fn list(only: &[u32], now_ns: u64) -> Listing {
    let mut listing = Listing::default();
    for netns in discover().iter().filter(|netns| only.is_empty() || only.contains(&netns.inode)) {
        add(&mut listing, netns, now_ns);
    }
    listing
}

/// The ports that somebody listens on, with their namespaces. What cannot be listed will be said of [`list`].
pub(super) fn listeners(only: &[u32]) -> Vec<(u32, u16)> {
    let mut found = Vec::new();
    for netns in discover().iter().filter(|netns| only.is_empty() || only.contains(&netns.inode)) {
        if let Ok(listing) = sockdiag::listeners(netns) {
            found.extend(listing.sockets.iter().map(|socket| (netns.inode, socket.sport)));
        }
    }
    found
}

fn add(listing: &mut Listing, netns: &Netns, now_ns: u64) {
    let wanted = States::TIME_WAIT_OR_FIN_WAIT2.or(States::LISTEN);
    match sockdiag::tcp(netns, wanted) {
        Ok(found) => {
            if let Some(degraded) = found.degraded {
                let why = format!("netns {}: {degraded}", netns.inode);
                listing.limitations.push(Limitation::new(What::Sockets, why, degraded.remedy()));
            }
            let listening = found.sockets.iter().filter(|socket| socket.state == LISTEN);
            listing.listeners.extend(listening.map(|socket| (netns.inode, socket.sport)));
            let waiting = found.sockets.iter().filter(|socket| socket.is_time_wait());
            let seeds: Vec<Seed> =
                waiting.map(|socket| seed(socket, netns.inode, &listing.listeners, now_ns)).collect();
            listing.seeds.extend(seeds);
            listing.listed.insert(netns.inode);
        }
        // A namespace may go away between the two looks; its sockets go with it.
        Err(crate::net::Error::Gone { .. }) => {}
        Err(error) => {
            let why = format!("netns {}: {error}", netns.inode);
            listing.limitations.push(Limitation::new(What::Namespaces, why, error.remedy()));
        }
    }
}

fn seed(socket: &DiagSocket, netns: u32, listeners: &HashSet<(u32, u16)>, now_ns: u64) -> Seed {
    let served = listeners.contains(&(netns, socket.sport));
    Seed {
        conn: socket.conn(netns),
        cookie: (socket.cookie != 0).then_some(socket.cookie),
        substate: socket.substate(),
        role: if served { Role::Server } else { Role::Unknown },
        ends_ns: now_ns + u64::from(socket.expires_ms) * 1_000_000,
    }
}
