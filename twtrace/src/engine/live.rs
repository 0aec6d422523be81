//! Owns: one live TIME_WAIT socket, as others see it and as it is kept.
//! Must not know: the others.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::arena::Handle;
use super::processes::Processes;
use crate::model::event::{Conn, Event, Kind, Opener, Process, Role, Substate, Via};
use crate::model::identity::Identity;

/// A TIME_WAIT socket that the kernel listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The connection.
    pub conn: Conn,
    /// Its cookie, if it has one.
    pub cookie: Option<u64>,
    /// What it is in.
    pub substate: Substate,
    /// Known where the local port is one that somebody listens on.
    pub role: Role,
    /// When its timer will run out, CLOCK_MONOTONIC in nanoseconds.
    pub ends_ns: u64,
}

impl Seed {
    /// What says that the socket is there, at `mono_ns` of CLOCK_MONOTONIC. Nobody knows its owner.
    pub fn event(&self, mono_ns: u64) -> Event {
        let mut event = Event::new(Kind::Listed, mono_ns, Some(self.conn));
        event.role = self.role;
        event.substate = Some(self.substate);
        event.timeout_ms = Some(left_ms(self.ends_ns, mono_ns));
        event.cookie = self.cookie;
        event.via = Some(Via::None);
        event
    }
}

impl Live {
    /// What says that a socket that is known is there, as a recording that begins at `mono_ns` of CLOCK_MONOTONIC says it.
    pub fn event(&self, conn: Conn, mono_ns: u64) -> Event {
        let mut event = Event::new(Kind::Listed, mono_ns, Some(conn));
        event.role = self.role;
        event.substate = Some(self.substate);
        event.timeout_ms = Some(left_ms(self.ends_ns, mono_ns));
        event.cookie = self.cookie;
        event.via = Some(self.via);
        event.owner = self.owner;
        event.identity.clone_from(&self.identity);
        event.opener = self.opener;
        event.lifetime_ns = self.born_ns.map(|born_ns| mono_ns.saturating_sub(born_ns));
        event
    }
}

/// How long a timer still has to run, in milliseconds.
fn left_ms(ends_ns: u64, now_ns: u64) -> u32 {
    u32::try_from(ends_ns.saturating_sub(now_ns) / 1_000_000).unwrap_or(u32::MAX)
}

/// What is remembered of a TIME_WAIT socket until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// CLOCK_MONOTONIC at its birth in nanoseconds; `None` for one that was there before.
    pub born_ns: Option<u64>,
    /// When its timer will run out if nothing re-arms it, CLOCK_MONOTONIC in nanoseconds.
    pub ends_ns: u64,
    /// Who closed it.
    pub owner: Option<Process>,
    /// How the owner is known.
    pub via: Via,
    /// What user space found out about the owner.
    pub identity: Option<Arc<Identity>>,
    /// Who opened it.
    pub opener: Option<Opener>,
    /// Which end.
    pub role: Role,
    /// What it was in when last seen.
    pub substate: Substate,
    /// Its cookie.
    pub cookie: Option<u64>,
}

/// A [`Live`] as it is kept, 131,072 times and more: processes by handle, which it alone gives back. Packed, so that it is one line of the
/// processor's caches together with a connection (`engine::sockets`).
#[derive(Debug)]
#[repr(C, packed(4))]
pub(super) struct LiveEntry {
    born_ns: Option<NonZeroU64>,
    ends_ns: u64,
    cookie: Option<NonZeroU64>,
    owner: Handle,
    opener: Handle,
    tid: u32,
    /// What it is counted in.
    pub(super) group: u32,
    /// Number of the last listing that showed it; 0: none.
    pub(super) listed: u8,
    via: Via,
    role: Role,
    substate: Substate,
}

const _: () = assert!(size_of::<LiveEntry>() <= 44);

impl LiveEntry {
    /// From a `created` or a `listed`; the processes it remembers are to be released with it.
    pub(super) fn new(event: &Event, processes: &mut Processes) -> Self {
        let timeout_ns = u64::from(event.timeout_ms.unwrap_or(0)) * 1_000_000;
        let born_ns = match event.kind {
            Kind::Listed => event.lifetime_ns.map(|lived_ns| event.mono_ns.saturating_sub(lived_ns)),
            _ => Some(event.mono_ns),
        };
        Self {
            born_ns: NonZeroU64::new(born_ns.unwrap_or(0)),
            ends_ns: event.mono_ns.saturating_add(timeout_ns),
            cookie: event.cookie.and_then(NonZeroU64::new),
            owner: processes.owner(event.owner.as_ref(), event.identity.as_ref()),
            opener: processes.opener(event.opener.as_ref()),
            tid: event.owner.map_or(0, |owner| owner.tid),
            group: u32::MAX,
            listed: 0,
            via: event.via.unwrap_or_default(),
            role: event.role,
            substate: event.substate.unwrap_or(Substate::TimeWait),
        }
    }

    /// Whether a socket of the same connection with this cookie is this one. A connection's ports may have been used again meanwhile: the cookie
    /// tells, where both have one.
    pub(super) fn has_cookie(&self, cookie: Option<u64>) -> bool {
        match (self.cookie, cookie) {
            (Some(mine), Some(theirs)) => mine.get() == theirs,
            _ => true,
        }
    }

    /// CLOCK_MONOTONIC at its birth in nanoseconds.
    pub(super) fn born_ns(&self) -> Option<u64> {
        self.born_ns.map(NonZeroU64::get)
    }

    /// When its timer will run out, CLOCK_MONOTONIC in nanoseconds.
    pub(super) fn ends_ns(&self) -> u64 {
        self.ends_ns
    }

    pub(super) fn cookie(&self) -> Option<u64> {
        self.cookie.map(NonZeroU64::get)
    }

    /// Somebody looked: it is there.
    pub(super) fn renew(&mut self, seed: &Seed) {
        (self.ends_ns, self.substate) = (seed.ends_ns, seed.substate);
        self.cookie = self.cookie.or(seed.cookie.and_then(NonZeroU64::new));
    }

    /// Fills in what an `ended` does not know by itself. One from a recording may know its owner, when the socket was but
    /// listed at the recording's start: that stays.
    pub(super) fn complete(&self, event: &mut Event, processes: &Processes) {
        if event.owner.is_none() {
            event.owner = processes.process(self.owner, self.tid);
            event.via = Some(self.via);
            event.identity = processes.identity(self.owner);
            event.opener = processes.opened_by(self.opener);
            event.role = self.role;
        }
        let lifetime_ns = self.born_ns.map(|born_ns| event.mono_ns.saturating_sub(born_ns.get()));
        event.lifetime_ns = lifetime_ns.or(event.lifetime_ns);
        event.cookie = event.cookie.or(self.cookie.map(NonZeroU64::get));
    }

    pub(super) fn release(&self, processes: &mut Processes) {
        processes.release(self.owner);
        processes.release(self.opener);
    }

    pub(super) fn live(&self, processes: &Processes) -> Live {
        Live {
            born_ns: self.born_ns.map(NonZeroU64::get),
            ends_ns: self.ends_ns,
            owner: processes.process(self.owner, self.tid),
            via: self.via,
            identity: processes.identity(self.owner),
            opener: processes.opened_by(self.opener),
            role: self.role,
            substate: self.substate,
            cookie: self.cookie.map(NonZeroU64::get),
        }
    }
}

#[cfg(test)]
impl crate::engine::Tracker {
    /// Takes in sockets that were there before.
    pub(crate) fn seed(&mut self, seeds: impl IntoIterator<Item = Seed>) {
        for seed in seeds {
            self.apply(&mut seed.event(self.now_ns));
        }
    }
}
