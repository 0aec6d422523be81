//! Owns: what state a listed socket is in, and sockets that stay in one in which somebody must act: nobody answers, closes or acknowledges.
//! Must not know: how a list is got, what it means.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use serde::Serialize;

use super::who::Shares;
use super::{Process, Share, State};
use crate::host::net::sockdiag::{DiagSocket, listening_ports};
use crate::model::ordering::Ordered as _;

/// States of include/net/tcp_states.h, 5.10 to 7.3.
pub(super) const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
/// What a socket that is bound and nothing else is listed as: it is asked for by the bit of TCP_BOUND_INACTIVE, and has its
/// own state (inet_diag_dump_icsk(), net/ipv4/inet_diag.c, 6.12; tcp_diag_dump(), net/ipv4/tcp_diag.c, 7.3).
pub(super) const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

impl State {
    pub(crate) fn of(socket: &DiagSocket) -> Self {
        match (socket.is_time_wait(), socket.state) {
            (true, FIN_WAIT2) => Self::FinWait2,
            (true, _) => Self::TimeWait,
            (false, ESTABLISHED) => Self::Established,
            (false, SYN_SENT) => Self::SynSent,
            (false, CLOSE_WAIT) => Self::CloseWait,
            // An orphan whose time is longer than a mini-socket's has no inode.
            (false, FIN_WAIT2) if socket.inode != 0 => Self::FinWait2Held,
            (false, FIN_WAIT2) => Self::FinWait2,
            (false, LAST_ACK | FIN_WAIT1 | CLOSING) => Self::Unacknowledged,
            (false, _) => Self::Other,
        }
    }
}

/// A socket that is in such a state for so long is not just passing through it, in milliseconds. A SYN has then been sent twice.
const LASTING_MS: u64 = 2000;
/// Kinds that are remembered though there are none of them now, at most: of those the largest stay.
const MOST_FOUND: usize = 1 << 14;

/// Where such sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// On a client's side, towards this address and port.
    To(IpAddr, u16),
    /// On a server's side, on this port.
    On(u16),
}

/// Sockets of one kind that last.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pile {
    /// What they are in.
    pub state: State,
    /// Where they are.
    pub side: Side,
    /// How many there were at most.
    pub count: u64,
    /// For how long the oldest was seen in it, in milliseconds.
    pub longest_ms: u64,
    /// Who holds them.
    pub shares: Vec<Share>,
}

/// All that was seen of them.
#[derive(Debug, Default)]
pub(super) struct Piles {
    /// By cookie: since when a socket is in its state.
    since: HashMap<u64, (State, u64)>,
    found: BTreeMap<(State, Side), Pile>,
    /// Those of which the last look saw some.
    present: HashSet<(State, Side)>,
}

impl Piles {
    /// All that was found elsewhere.
    pub(super) fn of(all: impl Iterator<Item = Pile>) -> Self {
        let found: BTreeMap<_, _> = all.map(|pile| ((pile.state, pile.side), pile)).collect();
        Self { present: found.keys().copied().collect(), found, since: HashMap::new() }
    }

    /// These and what was found later: what was closed after all is gone, what nobody answered stays.
    pub(super) fn followed_by(self, mut later: Self) -> Self {
        for (key, pile) in self.found.into_iter().filter(|((state, _), _)| *state == State::SynSent) {
            let known = later.found.entry(key).or_insert_with(|| pile.clone());
            if pile.count > known.count {
                *known = pile;
            }
        }
        later
    }

    /// What waits now, and since when; nothing is found yet.
    pub(super) fn afresh(&self) -> Self {
        Self { since: self.since.clone(), ..Self::default() }
    }

    /// Takes in another look, at `mono_ms`. `holders` says who holds full sockets, by the socket's inode.
    pub(super) fn take(&mut self, sockets: &[DiagSocket], holders: &HashMap<u32, Process>, mono_ms: u64) {
        let listeners: HashSet<u16> = listening_ports(sockets);
        let mut since = HashMap::new();
        let mut now: BTreeMap<(State, Side), (u64, u64, Shares)> = BTreeMap::new();
        // Without cookies, one socket cannot be told from the next.
        for socket in sockets.iter().filter(|socket| socket.cookie != 0) {
            let state = State::of(socket);
            if !state.is_waiting() {
                continue;
            }
            let known = self.since.get(&socket.cookie).filter(|known| known.0 == state);
            let began_ms = known.map_or(mono_ms, |known| known.1);
            since.insert(socket.cookie, (state, began_ms));
            let age_ms = mono_ms.saturating_sub(began_ms);
            if age_ms < LASTING_MS {
                continue;
            }
            let side = if listeners.contains(&socket.sport) {
                Side::On(socket.sport)
            } else {
                Side::To(socket.remote_ip(), socket.dport)
            };
            let (count, longest_ms, shares) = now.entry((state, side)).or_default();
            (*count, *longest_ms) = (*count + 1, age_ms.max(*longest_ms));
            let holder = holders.get(&socket.inode);
            shares.of(holder.unwrap_or(&Process::default())).open += 1;
        }
        self.since = since;
        self.present = now.keys().copied().collect();
        for ((state, side), (count, longest_ms, shares)) in now {
            let pile = Pile { state, side, count, longest_ms, shares: shares.sorted() };
            match self.found.get_mut(&(state, side)) {
                Some(known) if known.count > count => {}
                Some(known) => *known = pile,
                None => {
                    self.found.insert((state, side), pile);
                }
            }
        }
        if self.found.len() > MOST_FOUND {
            let Self { found, present, .. } = self;
            let middle = median(found.values().map(|pile| pile.count));
            let is_large = |key: &(State, Side), pile: &Pile| key.0 == State::SynSent && pile.count > middle;
            found.retain(|key, pile| present.contains(key) || is_large(key, pile));
        }
    }

    /// What lasted, most first. A close that came after all is none that is missing; a SYN that was given up stays one that
    /// nobody answered.
    pub(super) fn all(&self) -> Vec<Pile> {
        let is_so =
            |pile: &&Pile| pile.state == State::SynSent || self.present.contains(&(pile.state, pile.side));
        let mut all: Vec<Pile> = self.found.values().filter(is_so).cloned().collect();
        all.order_by_key(|pile| std::cmp::Reverse(pile.count));
        all
    }
}

/// That of which half of these are no greater; 0 of none.
pub(super) fn median(all: impl Iterator<Item = u64>) -> u64 {
    let mut all: Vec<u64> = all.collect();
    let middle = all.len() / 2;
    if all.is_empty() { 0 } else { *all.select_nth_unstable(middle).1 }
}
