//! Owns: the TIME_WAIT sockets that live, by connection.
//! Must not know: what is known of one, what is counted.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::arena::Hasher;
use super::live::Entry;
use crate::model::event::Conn;

/// See the head of the file. Sockets lie in the table itself: each end is that of a socket which nobody has looked at since its birth, so
/// that what is slow is to wait for memory, once for each place that has to be looked at.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    table: HashTable<(Conn, Entry)>,
    hasher: Hasher,
}

impl Sockets {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// What a connection is searched by here: worked out once where it is needed several times.
    #[inline]
    pub(super) fn hash(&self, conn: &Conn) -> u64 {
        self.hasher.hash_one(conn)
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
        table.insert_unique(hash, (conn, entry), |(conn, _)| hasher.hash_one(conn));
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
}
