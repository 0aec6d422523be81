//! Owns: the groups that births were counted in lately, by what their events say: mostly the next birth is like one of them, and need
//! neither be numbered nor searched.
//! Must not know: how events are numbered, how groups are found.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashTable;

use super::intern::Hasher;
use super::row::{Address, Named};
use crate::model::event::{Conn, Event, Kind, Process, Role};
use crate::model::identity::Identity;

/// So many are remembered; then all are forgotten, and those that are met again come back.
const MOST: usize = 1024;

/// What decides on the numbers and on the group of a birth.
#[derive(Debug)]
struct Like {
    netns: u32,
    saddr: IpAddr,
    daddr: IpAddr,
    port: u16,
    role: Role,
    owner: Option<Process>,
    identity: Option<Arc<Identity>>,
}

/// What a birth names, and its group.
pub(super) type RecentBirth = (Named, u32);

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Recent {
    table: HashTable<(Like, RecentBirth)>,
    hasher: Hasher,
}

impl Like {
    fn of(event: &Event, conn: &Conn) -> Self {
        Self {
            netns: conn.netns,
            saddr: conn.saddr,
            daddr: conn.daddr,
            port: shared_port(event.role, conn),
            role: event.role,
            owner: event.owner,
            identity: event.identity.clone(),
        }
    }

    /// Whether all that tells births apart is the same.
    fn is(&self, event: &Event, conn: &Conn) -> bool {
        let is_same_life = |one: &Process, other: &Process| *one == Process { tid: one.tid, ..*other };
        self.daddr == conn.daddr
            && self.saddr == conn.saddr
            && (self.netns, self.port, self.role) == (conn.netns, shared_port(event.role, conn), event.role)
            && match (&self.owner, &event.owner) {
                (Some(one), Some(other)) => is_same_life(one, other),
                (None, None) => true,
                _ => false,
            }
    }

    /// Whether nothing else is known of the owner by now.
    fn knows(&self, event: &Event) -> bool {
        match (&self.identity, &event.identity) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }

    #[inline]
    fn hash(&self, hasher: &Hasher) -> u64 {
        hash(hasher, [self.saddr, self.daddr], (self.netns, self.port), self.owner.as_ref())
    }
}

/// The port that connections of a group have in common.
fn shared_port(role: Role, conn: &Conn) -> u16 {
    if role == Role::Server { conn.sport } else { conn.dport }
}

#[inline]
fn hash(hasher: &Hasher, addresses: [IpAddr; 2], (netns, port): (u32, u16), owner: Option<&Process>) -> u64 {
    let pid = owner.map_or(0, |owner| owner.pid);
    let rest = u64::from(netns ^ pid.rotate_left(12)) << 32 | u64::from(port);
    hasher.hash_one((addresses.map(Address), rest))
}

impl Recent {
    #[inline]
    fn hash_of(&self, event: &Event, conn: &Conn) -> u64 {
        let netns_port = (conn.netns, shared_port(event.role, conn));
        hash(&self.hasher, [conn.saddr, conn.daddr], netns_port, event.owner.as_ref())
    }

    /// What is known of a birth like this one.
    #[inline]
    pub(super) fn find(&self, event: &Event) -> Option<RecentBirth> {
        let conn = event.conn.as_ref().filter(|_| event.kind == Kind::Created)?;
        let (like, known) = self.table.find(self.hash_of(event, conn), |(like, _)| like.is(event, conn))?;
        like.knows(event).then_some(*known)
    }

    /// Remembers where a birth was counted, in place of what was known of such.
    pub(super) fn put(&mut self, event: &Event, known: RecentBirth) {
        let Some(conn) = event.conn.as_ref().filter(|_| event.kind == Kind::Created) else { return };
        let hash = self.hash_of(event, conn);
        let new = (Like::of(event, conn), known);
        let Self { table, hasher } = self;
        if let Some(old) = table.find_mut(hash, |(like, _)| like.is(event, conn)) {
            *old = new;
            return;
        }
        if table.len() >= MOST {
            table.clear();
        }
        table.insert_unique(hash, new, |(like, _)| like.hash(hasher));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Comm;

    fn birth(daddr: [u8; 4], dport: u16) -> Event {
        let (saddr, daddr) = ([192, 0, 2, 1].into(), daddr.into());
        let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 40_009, dport };
        let mut event = Event::new(Kind::Created, 1, Some(conn));
        event.role = Role::Client;
        let comm = Comm::new("curl");
        event.owner = Some(Process { pid: 11, tid: 12, uid: 13, cgroup_id: 17, start_ns: 19, comm });
        event.identity = Some(Arc::default());
        event
    }

    fn known(group: u32) -> RecentBirth {
        (Named { saddr: 23, daddr: 29, exe: 31, owner: None }, group)
    }

    #[test]
    fn a_birth_is_like_another_one_where_nothing_differs_that_decides() {
        let (mut recent, birth) = (Recent::default(), birth([198, 51, 100, 2], 443));
        recent.put(&birth, known(37));
        let find = |change: fn(&mut Event, &mut Conn)| {
            let (mut event, mut conn) = (birth.clone(), birth.conn.unwrap());
            change(&mut event, &mut conn);
            event.conn = Some(conn);
            recent.find(&event).map(|(named, group)| (group, named.daddr))
        };
        let alike: [fn(&mut Event, &mut Conn); 5] = [
            |_, _| {},
            |_, conn| conn.sport += 1,
            |_, conn| conn.ifindex = 3,
            |event, _| event.bytes_sent = Some(41),
            |event, _| event.owner.as_mut().unwrap().tid += 1,
        ];
        assert_eq!(alike.map(find), [Some((37, 29)); 5]);
        let different: [fn(&mut Event, &mut Conn); 12] = [
            |event, _| event.kind = Kind::Listed,
            |event, _| event.role = Role::Unknown,
            // Of a server it is the local port.
            |event, _| event.role = Role::Server,
            |event, _| event.owner = None,
            |event, _| event.owner.as_mut().unwrap().comm = Comm::new("wget"),
            |event, _| event.owner.as_mut().unwrap().start_ns += 1,
            |event, _| event.owner.as_mut().unwrap().uid += 1,
            |event, _| event.identity = Some(Arc::default()),
            |event, _| event.identity = None,
            |_, conn| conn.netns += 1,
            |_, conn| conn.saddr = [192, 0, 2, 3].into(),
            |_, conn| conn.dport += 1,
        ];
        assert_eq!(different.map(find), [None; 12]);
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut recent = Recent::default();
        let births: Vec<Event> = (0..MOST as u16 + 7).map(|port| birth([198, 51, 100, 2], port)).collect();
        for (birth, group) in births.iter().zip(0..) {
            recent.put(birth, known(group));
            assert_eq!(recent.find(birth).map(|(_, group)| group), Some(group));
        }
        assert_eq!(births.iter().filter(|birth| recent.find(birth).is_some()).count(), 7);
    }

    #[test]
    fn who_is_known_anew_takes_the_place_of_who_was_known() {
        let (mut recent, births) = (Recent::default(), [(); 11].map(|()| birth([198, 51, 100, 2], 443)));
        births.iter().zip(0..).for_each(|(birth, group)| recent.put(birth, known(group)));
        assert_eq!(recent.table.len(), 1);
        let found = births.each_ref().map(|birth| recent.find(birth).map(|(_, group)| group));
        assert_eq!((&found[..10], found[10]), (&[None; 10][..], Some(10)));
    }

    #[test]
    fn what_differs_in_one_thing_has_another_hash() {
        let recent = Recent::default();
        let changes: [fn(&mut Event, u32); 5] = [
            |event, n| event.owner.as_mut().unwrap().pid = n,
            |event, n| event.conn.as_mut().unwrap().netns = n,
            |event, n| event.conn.as_mut().unwrap().dport = n as u16,
            |event, n| event.conn.as_mut().unwrap().saddr = IpAddr::from(n.to_be_bytes()),
            |event, n| event.conn.as_mut().unwrap().daddr = IpAddr::from(n.to_be_bytes()),
        ];
        for change in changes {
            let hash = |n| {
                let mut event = birth([198, 51, 100, 2], 443);
                change(&mut event, n);
                recent.hash_of(&event, &event.conn.unwrap())
            };
            assert_eq!((0..1009).map(hash).collect::<std::collections::HashSet<_>>().len(), 1009);
        }
    }
}
