//! Owns: the TIME_WAIT sockets that live, by connection.
//! Must not know: what is known of one, what is counted.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::live::Entry;
use crate::model::event::Conn;

/// Low bits of ports, by which connections lie beside each other.
const NEAR: u16 = 15;

/// See the head of the file. Sockets lie in the table itself: each end is that of a socket which nobody has looked at since its birth, so
/// that what is slow is to wait for memory, once for each place that has to be looked at.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    table: HashTable<(Conn, Entry)>,
    /// Keyed anew in each map, since peers choose addresses and ports.
    hasher: foldhash::quality::RandomState,
}

impl Sockets {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// What a connection is searched by here: worked out once where it is needed several times.
    #[inline]
    pub(super) fn hash(&self, conn: &Conn) -> u64 {
        hash(&self.hasher, conn)
    }

    /// The socket of a connection; `hash` is that of the connection.
    #[inline]
    pub(super) fn find_by(&self, hash: u64, conn: &Conn) -> Option<&Entry> {
        self.table.find(hash, |(known, _)| known == conn).map(|(_, entry)| entry)
    }

    pub(super) fn find(&self, conn: &Conn) -> Option<&Entry> {
        self.find_by(self.hash(conn), conn)
    }

    pub(super) fn find_mut(&mut self, conn: &Conn) -> Option<&mut Entry> {
        let hash = self.hash(conn);
        self.table.find_mut(hash, |(known, _)| known == conn).map(|(_, entry)| entry)
    }

    /// Adds a socket whose connection is not there yet; `hash` is that of the connection.
    #[inline]
    pub(super) fn add_by(&mut self, hash: u64, conn: Conn, entry: Entry) {
        let Self { table, hasher } = self;
        table.insert_unique(hash, (conn, entry), |(conn, _)| self::hash(hasher, conn));
    }

    /// Takes a socket away; `hash` is that of its connection.
    #[inline]
    pub(super) fn remove_by(&mut self, hash: u64, conn: &Conn) -> Option<Entry> {
        let found = self.table.find_entry(hash, |(known, _)| known == conn).ok()?;
        let ((_, entry), _) = found.remove();
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Conn, &Entry)> {
        self.table.iter().map(|(conn, entry)| (conn, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Conn, &mut Entry)> {
        self.table.iter_mut().map(|(conn, entry)| (&*conn, entry))
    }
}

/// connect() takes one port after the other, so that connections of neighbouring ports come and go one after the other: sixteen of them lie
/// side by side, and where such sixteen lie nobody can choose. Within them both ports together say which it is: the lowest four bits are the
/// place, the highest seven what hashbrown compares before it looks at a connection.
#[inline]
fn hash(hasher: &foldhash::quality::RandomState, conn: &Conn) -> u64 {
    let (near_s, near_d) = (u64::from(conn.sport & NEAR), u64::from(conn.dport & NEAR));
    let block = Conn { sport: conn.sport & !NEAR, dport: conn.dport & !NEAR, ..*conn };
    hasher.hash_one(block) ^ near_s ^ near_d ^ (near_s << 60) ^ (near_d << 57)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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
            sockets.add_by(sockets.hash(&conn), conn, Entry::new(&born, &mut processes));
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

    /// hashbrown looks at the highest seven bits before it looks at a key, and begins at the place that the lowest bits say.
    #[test]
    fn neighbours_lie_side_by_side_and_are_told_apart() {
        let sockets = Sockets::default();
        let hashes = |conns: &[Conn]| conns.iter().map(|conn| sockets.hash(conn)).collect::<Vec<_>>();
        let ports = |from: u16| (from..from + 16).collect::<Vec<_>>();
        let clients = hashes(&ports(40_000).iter().map(|port| conn(*port, 443)).collect::<Vec<_>>());
        assert_eq!(clients.iter().map(|hash| hash >> 4 & 0xffff).collect::<HashSet<_>>().len(), 1);
        assert_eq!(clients.iter().map(|hash| hash & 15).collect::<HashSet<_>>().len(), 16);
        assert_eq!(clients.iter().map(|hash| hash >> 57).collect::<HashSet<_>>().len(), 16);
        let all = ports(40_000)
            .into_iter()
            .flat_map(|sport| ports(8080).into_iter().map(move |dport| conn(sport, dport)));
        let all = hashes(&all.collect::<Vec<_>>());
        assert_eq!(all.iter().map(|hash| (hash & 15, hash >> 57)).collect::<HashSet<_>>().len(), 256);
        assert_ne!(
            sockets.hash(&conn(40_000, 443)) >> 4 & 0xffff_ffff,
            sockets.hash(&conn(40_016, 443)) >> 4 & 0xffff_ffff
        );
    }
}
