//! Owns: the TIME_WAIT sockets that live, by connection.
//! Must not know: what is known of one, what is counted.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use hashbrown::HashTable;

use super::arena::Hasher;
use super::live::LiveEntry;
use crate::model::event::Conn;

/// See the head of the file. Sockets lie in the tables themselves: each end is that of a socket which nobody has looked at since its birth, so
/// that what is slow is to wait for memory, once for each place that has to be looked at. What is known of an IPv4 socket is one such place.
#[derive(Debug)]
pub(super) struct Sockets {
    ipv4: HashTable<Ipv4Socket>,
    others: HashTable<(Conn, LiveEntry)>,
    hasher: Hasher,
}

/// So many sockets of IPv4 have room from the beginning, in 256 KiB that take memory only once they are used: a table that grows moves all that
/// it has, and touches twice as much memory as it needs.
const ROOM: usize = 3584;

impl Default for Sockets {
    fn default() -> Self {
        let ipv4 = HashTable::with_capacity(ROOM);
        Self { ipv4, others: HashTable::new(), hasher: Hasher::default() }
    }
}

/// A socket in one line of the processor's caches.
#[derive(Debug)]
#[repr(align(64))]
struct Ipv4Socket {
    conn: Ipv4Conn,
    entry: LiveEntry,
}

const _: () = assert!(size_of::<Ipv4Socket>() == 64);

/// A connection both of whose addresses are of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ipv4Conn {
    netns: u32,
    ifindex: u32,
    saddr: u32,
    daddr: u32,
    sport: u16,
    dport: u16,
}

impl Ipv4Conn {
    #[inline]
    fn of(conn: &Conn) -> Option<Self> {
        let Conn { netns, ifindex, sport, dport, .. } = *conn;
        match (conn.saddr, conn.daddr) {
            (IpAddr::V4(saddr), IpAddr::V4(daddr)) => {
                let (saddr, daddr) = (saddr.to_bits(), daddr.to_bits());
                Some(Self { netns, ifindex, saddr, daddr, sport, dport })
            }
            _ => None,
        }
    }

    #[inline]
    fn conn(self) -> Conn {
        let Self { netns, ifindex, saddr, daddr, sport, dport } = self;
        let [saddr, daddr] = [saddr, daddr].map(|address| IpAddr::V4(address.into()));
        Conn { netns, ifindex, saddr, daddr, sport, dport }
    }
}

impl Sockets {
    pub(super) fn len(&self) -> usize {
        self.ipv4.len() + self.others.len()
    }

    /// What a connection is searched by here: worked out once where it is needed several times.
    #[inline]
    pub(super) fn hash(&self, conn: &Conn) -> u64 {
        self.hasher.hash_one(conn)
    }

    /// The socket of a connection; `hash` is that of the connection.
    #[inline]
    pub(super) fn find_by(&self, hash: u64, conn: &Conn) -> Option<&LiveEntry> {
        match Ipv4Conn::of(conn) {
            Some(ipv4) => self.ipv4.find(hash, |socket| socket.conn == ipv4).map(|socket| &socket.entry),
            None => self.others.find(hash, |(known, _)| known == conn).map(|(_, entry)| entry),
        }
    }

    /// Has the processor fetch what [`Self::find_by`] will look at, and does not wait for it. On arm64 there is no stable way to say so.
    #[inline]
    fn fetch(&self, conn: &Conn) {
        #[cfg(target_arch = "x86_64")]
        if Ipv4Conn::of(conn).is_some() {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            self.ipv4.find(self.hash(conn), |socket| {
                // SAFETY: it lives, and is not read in any way that could be seen.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(socket).cast()) };
                false
            });
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = conn;
    }

    pub(super) fn find(&self, conn: &Conn) -> Option<&LiveEntry> {
        self.find_by(self.hash(conn), conn)
    }

    pub(super) fn find_mut(&mut self, conn: &Conn) -> Option<&mut LiveEntry> {
        let hash = self.hash(conn);
        match Ipv4Conn::of(conn) {
            Some(ipv4) => {
                self.ipv4.find_mut(hash, |socket| socket.conn == ipv4).map(|socket| &mut socket.entry)
            }
            None => self.others.find_mut(hash, |(known, _)| known == conn).map(|(_, entry)| entry),
        }
    }

    /// Adds a socket whose connection is not there yet; `hash` is that of the connection.
    #[inline]
    pub(super) fn add_by(&mut self, hash: u64, conn: Conn, entry: LiveEntry) {
        let Self { ipv4, others, hasher } = self;
        match Ipv4Conn::of(&conn) {
            Some(conn) => {
                let socket = Ipv4Socket { conn, entry };
                ipv4.insert_unique(hash, socket, |socket| hasher.hash_one(socket.conn.conn()));
            }
            None => {
                others.insert_unique(hash, (conn, entry), |(conn, _)| hasher.hash_one(conn));
            }
        }
    }

    /// Takes a socket away; `hash` is that of its connection.
    #[inline]
    pub(super) fn remove_by(&mut self, hash: u64, conn: &Conn) -> Option<LiveEntry> {
        match Ipv4Conn::of(conn) {
            Some(ipv4) => {
                let found = self.ipv4.find_entry(hash, |socket| socket.conn == ipv4).ok()?;
                Some(found.remove().0.entry)
            }
            None => {
                let found = self.others.find_entry(hash, |(known, _)| known == conn).ok()?;
                Some(found.remove().0.1)
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Conn, &LiveEntry)> {
        let ipv4 = self.ipv4.iter().map(|socket| (socket.conn.conn(), &socket.entry));
        ipv4.chain(self.others.iter().map(|(conn, entry)| (*conn, entry)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Conn, &mut LiveEntry)> {
        let ipv4 = self.ipv4.iter_mut().map(|socket| (socket.conn.conn(), &mut socket.entry));
        ipv4.chain(self.others.iter_mut().map(|(conn, entry)| (*conn, entry)))
    }
}

/// What is known of more sockets of IPv4 than these, which are half a megabyte, does not lie in a processor's own caches.
const NEAR: usize = 8192;

impl super::Tracker {
    /// Whether it pays to say [`Self::expect`]: where little is known of sockets all of it is at hand, and what cannot be fetched is waited for.
    #[inline]
    pub fn waits_for_memory(&self) -> bool {
        cfg!(target_arch = "x86_64") && self.live.ipv4.len() > NEAR
    }

    /// Says that an event about this connection comes soon: what is known of its socket is on its way from memory by then.
    #[inline]
    pub fn expect(&self, conn: &Conn) {
        self.live.fetch(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::processes::Processes;
    use crate::model::event::{Event, Kind};

    fn conn(sport: u16, dport: u16) -> Conn {
        let (saddr, daddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        Conn { netns: 7, ifindex: 0, saddr, daddr, sport, dport }
    }

    #[test]
    fn every_port_of_a_pool_is_found_until_it_goes() {
        let (mut sockets, mut processes) = (Sockets::default(), Processes::default());
        let pool = || (32_768..61_000).map(|port| conn(port, 443));
        for conn in pool() {
            let born = Event::new(Kind::Created, u64::from(conn.sport), Some(conn));
            sockets.add_by(sockets.hash(&conn), conn, LiveEntry::new(&born, &mut processes));
        }
        let is_odd = |conn: &Conn| conn.sport % 2 == 1;
        for conn in pool().filter(is_odd) {
            let gone = sockets.remove_by(sockets.hash(&conn), &conn);
            assert_eq!(gone.and_then(|entry| entry.born_ns()), Some(conn.sport.into()));
            assert!(sockets.remove_by(sockets.hash(&conn), &conn).is_none());
        }
        assert!(pool().all(|conn| sockets.find(&conn).is_none() == is_odd(&conn)));
        assert_eq!((sockets.len(), sockets.iter().count()), (14_116, 14_116));
    }

    #[test]
    fn families_are_told_apart_and_all_are_told() {
        let (mut sockets, mut processes) = (Sockets::default(), Processes::default());
        // What a recording of strangers may hold as well.
        let ipv6 = |last: u16| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0200 + last]);
        let ipv4 = conn(40_001, 443);
        let all = [
            ipv4,
            Conn { saddr: ipv6(1), ..ipv4 },
            Conn { daddr: ipv6(2), ..ipv4 },
            Conn { saddr: ipv6(1), daddr: ipv6(2), ..ipv4 },
            Conn { ifindex: 3, ..ipv4 },
        ];
        for (at, conn) in (1..).zip(all) {
            let born = Event::new(Kind::Created, at, Some(conn));
            sockets.add_by(sockets.hash(&conn), conn, LiveEntry::new(&born, &mut processes));
        }
        for (at, conn) in (1..).zip(all) {
            assert_eq!(sockets.find(&conn).and_then(LiveEntry::born_ns), Some(at));
            assert_eq!(sockets.find_mut(&conn).and_then(|entry| entry.born_ns()), Some(at));
        }
        let told: Vec<_> = sockets.iter().map(|(conn, entry)| (entry.born_ns(), conn)).collect();
        let changed: Vec<_> = sockets.iter_mut().map(|(conn, entry)| (entry.born_ns(), conn)).collect();
        assert!(told.len() == 5 && told == changed);
        assert!((1..).zip(all).all(|(at, conn)| told.contains(&(Some(at), conn))));
        for conn in all {
            assert!(sockets.remove_by(sockets.hash(&conn), &conn).is_some());
        }
        assert_eq!(sockets.len(), 0);
    }
}
