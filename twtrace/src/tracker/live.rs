//! Owns: one live TIME_WAIT socket.
//! Must not know: the others.

use std::sync::Arc;

use crate::event::{Conn, Event, Opener, Process, Role, Substate, Via};
use crate::identity::Identity;

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
    pub(super) generation: u32,
}

impl Live {
    pub(super) fn born(event: &Event, generation: u32) -> Self {
        Self {
            born_ns: Some(event.mono_ns),
            ends_ns: event.mono_ns + u64::from(event.timeout_ms.unwrap_or(0)) * 1_000_000,
            owner: event.owner,
            via: event.via.unwrap_or_default(),
            identity: event.identity.clone(),
            opener: event.opener,
            role: event.role,
            substate: event.substate.unwrap_or(Substate::TimeWait),
            cookie: event.cookie,
            generation,
        }
    }

    pub(super) fn listed(seed: &Seed, generation: u32) -> Self {
        Self {
            born_ns: None,
            ends_ns: seed.ends_ns,
            owner: None,
            via: Via::None,
            identity: None,
            opener: None,
            role: seed.role,
            substate: seed.substate,
            cookie: seed.cookie,
            generation,
        }
    }

    /// Whether a listed socket is this one. A connection's ports may have been used again meanwhile: the cookie
    /// tells, where both have one.
    pub(super) fn is(&self, seed: &Seed) -> bool {
        match (self.cookie, seed.cookie) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => true,
        }
    }

    /// Fills in what an `ended` does not know by itself.
    pub(super) fn complete(self, event: &mut Event) {
        event.owner = self.owner;
        event.via = Some(self.via);
        event.identity = self.identity;
        event.opener = self.opener;
        event.role = self.role;
        event.lifetime_ns = self.born_ns.map(|born_ns| event.mono_ns.saturating_sub(born_ns));
        event.cookie = event.cookie.or(self.cookie);
    }
}
