//! Owns: comparing the sockets that are known to live with those that the kernel shows.
//! Must not know: how or when the kernel is asked, clocks.

use super::live::LiveEntry;
use super::{Seed, Tracker};
use crate::model::event::{Conn, Event, Kind, Reason};

impl Tracker {
    /// Says that a socket is gone though nobody saw its end; returns what tells so. `None` where it is not known to live.
    pub fn miss(&mut self, conn: &Conn, mono_ns: u64) -> Option<Event> {
        let entry = self.live.find(conn)?;
        let mut event = Event::new(Kind::Ended, mono_ns, Some(*conn));
        event.cookie = entry.cookie();
        event.substate = Some(entry.live(&self.processes).substate);
        event.reason = Some(Reason::Missed);
        self.advance(mono_ns);
        let hash = self.live.hash(conn);
        self.take(&mut event, hash);
        if let Some(cookie) = event.cookie {
            self.missed.add(hash, cookie, mono_ns);
        }
        Some(event)
    }

    /// Says that somebody looked and the socket is there: its timer may have been armed anew. Whether it is the one that is known.
    pub fn renew(&mut self, seed: &Seed) -> bool {
        self.known_as(seed).is_some()
    }

    /// Whether there were sockets before the listing that there was no room for: one that it shows and that is not known may have been told.
    pub fn overflows(&self) -> bool {
        self.listing.1
    }

    fn known_as(&mut self, seed: &Seed) -> Option<&mut LiveEntry> {
        let entry = self.live.find_mut(&seed.conn).filter(|entry| entry.has_cookie(seed.cookie))?;
        entry.renew(seed);
        self.soonest_ns = self.soonest_ns.min(seed.ends_ns);
        Some(entry)
    }

    /// From now on sockets are shown that the kernel lists: see [`Self::list`] and [`Self::not_listed`].
    pub fn begin_listing(&mut self) {
        let overflows = self.unfollowed > 0 && self.live.len() >= self.engine.limits.sockets;
        // It comes round: who was shown that long ago and not since is asked after at the next one.
        self.listing = (self.listing.0 % u8::MAX + 1, overflows);
    }

    /// As [`Self::renew`], of a socket that the listing shows.
    pub fn list(&mut self, seed: &Seed) -> bool {
        let (listing, _) = self.listing;
        self.known_as(seed).map(|entry| entry.listed = listing).is_some()
    }

    /// Sockets born before `began_ns` of CLOCK_MONOTONIC that the last listing did not show, each with its cookie.
    pub fn not_listed(&self, began_ns: u64) -> impl Iterator<Item = (Conn, Option<u64>)> {
        let hidden = self.live.iter().filter(move |(_, entry)| {
            entry.listed != self.listing.0 && entry.born_ns().is_none_or(|born_ns| born_ns < began_ns)
        });
        hidden.map(|(conn, entry)| (conn, entry.cookie()))
    }

    /// Up to `most` sockets whose timer should have run out before `before_ns` of CLOCK_MONOTONIC: the connection and the cookie.
    pub fn overdue(&mut self, before_ns: u64, most: usize) -> Vec<(Conn, Option<u64>)> {
        if self.soonest_ns >= before_ns {
            return Vec::new();
        }
        self.soonest_ns = self.live.iter().map(|(_, entry)| entry.ends_ns()).min().unwrap_or(u64::MAX);
        let late = self.live.iter().filter(|(_, entry)| entry.ends_ns() < before_ns);
        late.map(|(conn, entry)| (conn, entry.cookie())).take(most).collect()
    }
}
