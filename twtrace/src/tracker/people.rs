//! Owns: the processes that live sockets remember, each once, however many sockets it has.
//! Must not know: sockets, rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::table::Hasher;
use crate::event::{Comm, Opener, Process};
use crate::identity::Identity;

/// Stands for nobody.
pub(super) const NOBODY: u32 = u32::MAX;

/// A process in one of its lives: exec() and setuid() make another one, because an `ended` must name what its `created` named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Who {
    pid: u32,
    uid: u32,
    cgroup_id: u64,
    start_ns: u64,
    comm: Comm,
}

#[derive(Debug)]
struct Person {
    who: Who,
    identity: Option<Arc<Identity>>,
    /// Sockets that remember it.
    refs: u32,
}

/// Everybody whom a live socket remembers.
#[derive(Debug, Default)]
pub(super) struct People {
    places: HashMap<Who, u32, Hasher>,
    persons: Vec<Person>,
    free: Vec<u32>,
}

impl People {
    /// Remembers who closed a socket, until [`People::release`].
    pub(super) fn owner(&mut self, process: Option<&Process>, identity: Option<&Arc<Identity>>) -> u32 {
        let Some(&Process { pid, uid, cgroup_id, start_ns, comm, .. }) = process else { return NOBODY };
        let at = self.remember(Who { pid, uid, cgroup_id, start_ns, comm });
        let known = &mut self.persons[at as usize].identity;
        if let Some(identity) = identity
            && !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, identity))
        {
            *known = Some(identity.clone());
        }
        at
    }

    /// Remembers who opened a socket, until [`People::release`].
    pub(super) fn opener(&mut self, opener: Option<&Opener>) -> u32 {
        let Some(&Opener { pid, start_ns, comm }) = opener else { return NOBODY };
        self.remember(Who { pid, uid: 0, cgroup_id: 0, start_ns, comm })
    }

    fn remember(&mut self, who: Who) -> u32 {
        if let Some(&at) = self.places.get(&who) {
            self.persons[at as usize].refs += 1;
            return at;
        }
        let person = Person { who, identity: None, refs: 1 };
        let at = match self.free.pop() {
            Some(at) => {
                self.persons[at as usize] = person;
                at
            }
            None => {
                self.persons.push(person);
                (self.persons.len() - 1) as u32
            }
        };
        self.places.insert(who, at);
        at
    }

    /// One socket less remembers it.
    pub(super) fn release(&mut self, at: u32) {
        let Some(person) = self.persons.get_mut(at as usize) else { return };
        person.refs -= 1;
        if person.refs == 0 {
            person.identity = None;
            self.places.remove(&person.who);
            self.free.push(at);
        }
    }

    /// Who closed a socket, with the thread that the socket itself remembers.
    pub(super) fn process(&self, at: u32, tid: u32) -> Option<Process> {
        let Who { pid, uid, cgroup_id, start_ns, comm } = self.persons.get(at as usize)?.who;
        Some(Process { pid, tid, uid, cgroup_id, start_ns, comm })
    }

    pub(super) fn identity(&self, at: u32) -> Option<Arc<Identity>> {
        self.persons.get(at as usize)?.identity.clone()
    }

    /// Who opened a socket.
    pub(super) fn opened_by(&self, at: u32) -> Option<Opener> {
        let Who { pid, start_ns, comm, .. } = self.persons.get(at as usize)?.who;
        Some(Opener { pid, start_ns, comm })
    }
}
