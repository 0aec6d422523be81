//! Owns: ends of sockets that are not known to live: which were told already, and what is told of the others.
//! Must not know: what is known of those that live.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use super::{Applied, Hasher, SECOND_NS, Tracker};
use crate::model::event::{Conn, Event, Kind, Loss, Reason, Role};

/// Sockets that were told as missed and are remembered: so many, and up to as many that came before them.
pub(super) const MOST: usize = 1 << 16;
/// No end comes so long after its socket was told as missed: those that do come are of a namespace that is still being purged while another
/// one has its inode already.
const LATE_NS: u64 = 600 * SECOND_NS;

/// Whether a socket was told as missed, and so its end is not to be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// It was.
    Told,
    /// It was not.
    Untold,
    /// It may have been: there were more than can be remembered.
    Unsure,
}

/// Sockets that were told as missed, each by a number that stands for its connection and its cookie; without a cookie nothing tells two of
/// one connection apart.
#[derive(Debug, Default)]
pub(super) struct Missed {
    latest: HashSet<u64, Hasher>,
    before: HashSet<u64, Hasher>,
    /// When the first of the latest was told, CLOCK_MONOTONIC in nanoseconds.
    since_ns: u64,
    /// Up to here an end that is not remembered may have been forgotten.
    unsure_ns: u64,
    numbers: Hasher,
}

impl Missed {
    /// `hash` is that of its connection.
    pub(super) fn add(&mut self, hash: u64, cookie: u64, now_ns: u64) {
        let are_old = now_ns >= self.since_ns.saturating_add(LATE_NS);
        if are_old || self.latest.len() >= MOST {
            if !are_old && !self.before.is_empty() {
                self.unsure_ns = now_ns.saturating_add(LATE_NS);
            }
            self.before = std::mem::take(&mut self.latest);
            self.since_ns = now_ns;
        }
        self.latest.insert(self.numbers.hash_one((hash, cookie)));
    }

    /// Says what is known of a socket whose end has come; it comes once.
    fn recall(&mut self, hash: u64, cookie: u64, now_ns: u64) -> Memory {
        let number = self.numbers.hash_one((hash, cookie));
        if self.latest.remove(&number) || self.before.remove(&number) {
            return Memory::Told;
        }
        if now_ns < self.unsure_ns { Memory::Unsure } else { Memory::Untold }
    }
}

impl Tracker {
    /// Takes in an end of a socket that is not known to live; another one of its connection may be (`is_taken`). `hash` is that of the connection.
    pub(super) fn end_of_unknown(
        &mut self,
        (conn, hash): (Conn, u64),
        is_taken: bool,
        event: &mut Event,
    ) -> Applied {
        let memory = event.cookie.map(|cookie| self.missed.recall(hash, cookie, event.mono_ns));
        let before = match (memory.unwrap_or(Memory::Untold), is_taken) {
            // Another one took its place, or it was asked after in vain: its end was told, and only comes late.
            (Memory::Told, _) => return Applied { before: Vec::new(), is_new: false },
            // Either that, or its birth was lost and the known one has ended, unseen. Nobody can tell, so an end counts as lost; the known one is
            // asked after when its time is over.
            (Memory::Unsure, true) => {
                let mut lost = Event::new(Kind::Lost, event.mono_ns, None);
                lost.loss = Some(Box::new(Loss { ended: 1, ..Loss::default() }));
                self.take(&mut lost, hash);
                return Applied { before: vec![lost], is_new: false };
            }
            // Its birth was lost, and so was the end of the one before it.
            (Memory::Untold, true) => {
                let missed = self.miss(&conn, event.mono_ns);
                missed.into_iter().chain([self.hear_of((conn, hash), event)]).collect()
            }
            // There was no room for one such, which has been told: it is not told again.
            (Memory::Untold | Memory::Unsure, false) if self.unfollowed > 0 => {
                self.unfollowed -= 1;
                event.via.get_or_insert_default();
                Vec::new()
            }
            (Memory::Untold | Memory::Unsure, false) => vec![self.hear_of((conn, hash), event)],
        };
        self.end(conn, hash, event);
        Applied { before, is_new: true }
    }

    /// An end of which nobody knows the beginning: the socket is told first, so that no end is without one.
    fn hear_of(&mut self, (conn, hash): (Conn, u64), ended: &Event) -> Event {
        let mut listed = Event::new(Kind::Listed, ended.mono_ns, Some(conn));
        // A SYN takes a TIME_WAIT socket's place only where somebody listens on its port (tcp_v4_rcv(),
        // net/ipv4/tcp_ipv4.c, 5.10 to 7.3: inet_lookup_listener() at TCP_TW_SYN), and that is what a list tells a
        // server by.
        listed.role = match (ended.role, ended.reason) {
            (Role::Unknown, Some(Reason::ReusedIncoming)) => Role::Server,
            (role, _) => role,
        };
        (listed.owner, listed.identity) = (ended.owner, ended.identity.clone());
        (listed.opener, listed.via) = (ended.opener, Some(ended.via.unwrap_or_default()));
        (listed.substate, listed.cookie) = (ended.substate, ended.cookie);
        (listed.timeout_ms, listed.lifetime_ns) = (Some(0), ended.lifetime_ns);
        self.take(&mut listed, hash);
        listed
    }
}
