//! Owns: the processes that live sockets remember, each once, however many sockets it has.
//! Must not know: sockets, rows.

use std::sync::Arc;

use super::arena::{Arena, Place};
use crate::event::{Comm, Opener, Process};
use crate::identity::Identity;

/// A process in one of its lives: exec() and setuid() make another one, because an `ended` must name what its
/// `created` named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Who {
    pid: u32,
    uid: u32,
    cgroup_id: u64,
    start_ns: u64,
    comm: Comm,
}

#[derive(Debug, Default)]
struct Known {
    identity: Option<Arc<Identity>>,
    /// Sockets that remember it.
    refs: u32,
}

/// Everybody whom a live socket remembers.
#[derive(Debug, Default)]
pub(super) struct People {
    known: Arena<Who, Known>,
}

impl People {
    /// Remembers who closed a socket, until [`People::release`].
    pub(super) fn owner(&mut self, process: Option<&Process>, identity: Option<&Arc<Identity>>) -> Place {
        let Some(&Process { pid, uid, cgroup_id, start_ns, comm, .. }) = process else { return Place::NONE };
        let place = self.remember(Who { pid, uid, cgroup_id, start_ns, comm });
        if let (Some(known), Some(identity)) = (self.known.get_mut(place), identity)
            && !known.identity.as_ref().is_some_and(|known| Arc::ptr_eq(known, identity))
        {
            known.identity = Some(identity.clone());
        }
        place
    }

    /// Remembers who opened a socket, until [`People::release`].
    pub(super) fn opener(&mut self, opener: Option<&Opener>) -> Place {
        let Some(&Opener { pid, start_ns, comm }) = opener else { return Place::NONE };
        self.remember(Who { pid, uid: 0, cgroup_id: 0, start_ns, comm })
    }

    fn remember(&mut self, who: Who) -> Place {
        let place = self.known.place(&who).unwrap_or_else(|| self.known.add(who, Known::default()));
        if let Some(known) = self.known.get_mut(place) {
            known.refs += 1;
        }
        place
    }

    /// One socket less remembers it.
    pub(super) fn release(&mut self, place: Place) {
        let Some(known) = self.known.get_mut(place) else { return };
        known.refs -= 1;
        if known.refs == 0 {
            self.known.remove_at(place);
        }
    }

    /// Who closed a socket, with the thread that the socket itself remembers.
    pub(super) fn process(&self, place: Place, tid: u32) -> Option<Process> {
        let &Who { pid, uid, cgroup_id, start_ns, comm } = self.known.get(place)?.0;
        Some(Process { pid, tid, uid, cgroup_id, start_ns, comm })
    }

    pub(super) fn identity(&self, place: Place) -> Option<Arc<Identity>> {
        self.known.get(place)?.1.identity.clone()
    }

    /// Who opened a socket.
    pub(super) fn opened_by(&self, place: Place) -> Option<Opener> {
        let &Who { pid, start_ns, comm, .. } = self.known.get(place)?.0;
        Some(Opener { pid, start_ns, comm })
    }
}
