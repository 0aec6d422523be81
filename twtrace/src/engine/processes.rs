//! Owns: the processes that live sockets remember, each once, however many sockets it has.
//! Must not know: sockets, rows.

use std::sync::Arc;

use super::arena::{Arena, Handle};
use crate::model::event::{Comm, Opener, Process};
use crate::model::identity::Identity;

/// A process in one of its lives: exec() and setuid() make another one, because an `ended` must name what its
/// `created` named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ProcessLife {
    pid: u32,
    uid: u32,
    cgroup_id: u64,
    start_ns: u64,
    comm: Comm,
}

#[derive(Debug, Default)]
struct KnownIdentity {
    identity: Option<Arc<Identity>>,
    /// Sockets that remember it.
    refs: u32,
}

impl KnownIdentity {
    /// One socket more does, whose owner is known so.
    #[inline]
    fn remember(&mut self, identity: Option<&Arc<Identity>>) {
        self.refs += 1;
        if let Some(identity) = identity
            && !self.identity.as_ref().is_some_and(|known| Arc::ptr_eq(known, identity))
        {
            self.identity = Some(identity.clone());
        }
    }
}

/// Everybody whom a live socket remembers.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: Arena<ProcessLife, KnownIdentity>,
    /// Who closed a socket last, and who opened one: mostly it is the same again. They may have gone meanwhile, and
    /// somebody else may have their places.
    last: [Handle; 2],
}

impl Processes {
    /// Remembers who closed a socket, until [`Processes::release`].
    #[inline]
    pub(super) fn owner(&mut self, process: Option<&Process>, identity: Option<&Arc<Identity>>) -> Handle {
        let Some(&Process { pid, uid, cgroup_id, start_ns, comm, .. }) = process else { return Handle::NONE };
        self.remember(&ProcessLife { pid, uid, cgroup_id, start_ns, comm }, 0, identity)
    }

    /// Remembers who opened a socket, until [`Processes::release`].
    #[inline]
    pub(super) fn opener(&mut self, opener: Option<&Opener>) -> Handle {
        let Some(&Opener { pid, start_ns, comm }) = opener else { return Handle::NONE };
        self.remember(&ProcessLife { pid, uid: 0, cgroup_id: 0, start_ns, comm }, 1, None)
    }

    #[inline]
    fn remember(&mut self, who: &ProcessLife, part: usize, identity: Option<&Arc<Identity>>) -> Handle {
        let last = self.last[part];
        match self.known.get_mut(last) {
            Some((same, known)) if same == who => {
                known.remember(identity);
                last
            }
            _ => self.remember_another(who, part, identity),
        }
    }

    #[cold]
    fn remember_another(
        &mut self,
        who: &ProcessLife,
        part: usize,
        identity: Option<&Arc<Identity>>,
    ) -> Handle {
        let handle = self.known.handle(who).unwrap_or_else(|| self.known.add(*who, KnownIdentity::default()));
        self.last[part] = handle;
        if let Some((_, known)) = self.known.get_mut(handle) {
            known.remember(identity);
        }
        handle
    }

    /// One socket less remembers it.
    pub(super) fn release(&mut self, handle: Handle) {
        let Some((_, known)) = self.known.get_mut(handle) else { return };
        known.refs -= 1;
        if known.refs == 0 {
            self.known.remove_at(handle);
        }
    }

    /// Who closed a socket, with the thread that the socket itself remembers.
    pub(super) fn process(&self, handle: Handle, tid: u32) -> Option<Process> {
        let &ProcessLife { pid, uid, cgroup_id, start_ns, comm } = self.known.get(handle)?.0;
        Some(Process { pid, tid, uid, cgroup_id, start_ns, comm })
    }

    pub(super) fn identity(&self, handle: Handle) -> Option<Arc<Identity>> {
        self.known.get(handle)?.1.identity.clone()
    }

    /// Who opened a socket.
    pub(super) fn opened_by(&self, handle: Handle) -> Option<Opener> {
        let &ProcessLife { pid, start_ns, comm, .. } = self.known.get(handle)?.0;
        Some(Opener { pid, start_ns, comm })
    }
}
