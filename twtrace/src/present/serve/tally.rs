//! Owns: what is counted of the events that a trace tells: in all, by owner, by owner and destination, by errno.
//! Must not know: how it is told.

use std::collections::BTreeMap;

use super::owners::{DealingEnd, DealingKey, OwnerKey, Owners};
use super::ranking::{Busiest, Ranking};
use crate::engine::Counts;
use crate::model::event::{Errno, Event, Kind, Loss};
use crate::model::identity::Names;

/// How often it is looked which processes have ended.
const REFRESH_NS: u64 = 10_000_000_000;

/// What was counted, at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallied {
    /// All together.
    pub(super) total: Counts,
    /// TIME_WAIT sockets that live.
    pub(super) live: u64,
    /// Failures of connect(), by what it returned.
    pub(super) connect_failed: BTreeMap<Errno, u64>,
    /// Failures of bind() and listen(), by what they returned.
    pub(super) bind_failed: BTreeMap<Errno, u64>,
    /// By owner and role.
    pub(super) owners: Busiest<OwnerKey>,
    /// By owner, role and destination.
    pub(super) dealings: Busiest<DealingKey>,
    /// What containers are called, as far as it is known.
    pub(super) containers: BTreeMap<String, Names>,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Tally {
    names: Owners,
    owners: Ranking<OwnerKey>,
    dealings: Ranking<DealingKey>,
    connect_failed: BTreeMap<Errno, u64>,
    bind_failed: BTreeMap<Errno, u64>,
    loss: Loss,
    refresh_at_ns: u64,
}

impl Tally {
    /// Tells the `top` busiest apart.
    pub(super) fn new(top: usize) -> Self {
        Self {
            names: Owners::default(),
            owners: Ranking::new(top),
            dealings: Ranking::new(top),
            // The two that say that there was no port: there from the start, so that the first failure is seen as one.
            connect_failed: [(Errno::AddrNotAvail, 0), (Errno::AddrInUse, 0)].into(),
            bind_failed: [(Errno::AddrInUse, 0)].into(),
            loss: Loss::default(),
            refresh_at_ns: 0,
        }
    }

    /// Counts an event.
    pub(super) fn count(&mut self, event: &Event) {
        if let Some(loss) = &event.loss {
            self.loss = self.loss.and(loss);
        }
        let Some(conn) = &event.conn else { return };
        let (kind, reason, now_ns) = (event.kind, event.reason, event.mono_ns);
        let failed = match kind {
            Kind::ConnectFailed => Some(&mut self.connect_failed),
            Kind::BindFailed => Some(&mut self.bind_failed),
            _ => None,
        };
        if let Some(failed) = failed {
            *failed.entry(event.errno.unwrap_or(Errno::Unnamed)).or_default() += 1;
        }
        let owner = self.names.owner_of(event);
        let destination = DealingEnd::of(kind, event.role, conn);
        let dealing = owner.clone().map(|owner| DealingKey { owner, destination });
        self.owners.count(owner, kind, reason, now_ns);
        self.dealings.count(dealing, kind, reason, now_ns);
    }

    /// Does what is due at `now_ns` of CLOCK_MONOTONIC.
    pub(super) fn refresh(&mut self, now_ns: u64) {
        if now_ns < self.refresh_at_ns {
            return;
        }
        self.refresh_at_ns = now_ns + REFRESH_NS;
        self.names.refresh();
        let names = &self.names;
        self.owners.forget(now_ns, |key| names.is_gone(key));
        self.dealings.forget(now_ns, |key| names.is_gone(&key.owner));
    }

    /// What is to be told at `now_ns` of CLOCK_MONOTONIC.
    pub(super) fn tell(&mut self, now_ns: u64) -> Tallied {
        let names = &self.names;
        let (counts, live) = self.owners.total();
        Tallied {
            total: Counts { loss: self.loss, ..counts },
            live,
            connect_failed: self.connect_failed.clone(),
            bind_failed: self.bind_failed.clone(),
            owners: self.owners.tell(now_ns, |key| names.is_gone(key)),
            dealings: self.dealings.tell(now_ns, |key| names.is_gone(&key.owner)),
            containers: names.containers(),
        }
    }
}
