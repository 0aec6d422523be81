//! Owns: what is counted of failures beyond their number: who failed to get which port, whose TIME_WAIT sockets were refused or
//! ended by RSTs, and what was on the ports then. In numbers of the interners.
//! Must not know: what it means.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::intern::{NONE, OTHERS};
use super::ledger::{Ledger, PoolId};
use super::row::{Owner, Row};
use crate::model::event::{AbortWhy, Errno, Kind, Reason, Substate};

/// Things that are told apart, of each kind; what comes later is only in the sums.
const MOST: usize = 4096;

/// A process: pid, start, name. Nobody knows whose it was: all zero.
pub(crate) type Caller = (u32, u64, u32);

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// By pool, and whether the caller had bound a port.
    pub(crate) connects: Counted<(PoolId, bool), Caller>,
    /// By namespace and port; with the address.
    pub(crate) binds: Counted<(u32, u16), (u32, Caller)>,
    /// By namespace, call and where to, with what it returned.
    pub(crate) refusals: Counted<(u32, Kind, u32, u16), (Errno, Caller)>,
    /// By pool: failed calls that are in `refusals`.
    pub(crate) others: HashMap<PoolId, u64>,
    /// By pool: connections that were seen to exist when they were asked for again, and ports that were asked for.
    pub(crate) taken: HashMap<PoolId, (u64, BTreeSet<u16>)>,
    pub(crate) aborted: Counted<u32, (Caller, AbortWhy)>,
    pub(crate) syn_refused: Counted<u32, (u16, u32)>,
    pub(crate) concerned: Counted<u32, Caller>,
    pub(crate) resets: HashMap<u32, u64>,
    pub(crate) ledger: Ledger,
}

/// Calls of a kind, by what is asked for in one go, and by what is told apart in that.
#[derive(Debug)]
pub(crate) struct Counted<A, B> {
    all: HashMap<A, HashMap<B, Calls>>,
    len: usize,
    /// Of the first kind, which of a namespace there are.
    of_netns: HashMap<u32, Vec<A>>,
}

impl<A, B> Default for Counted<A, B> {
    fn default() -> Self {
        Self { all: HashMap::new(), len: 0, of_netns: HashMap::new() }
    }
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) count: u64,
    /// Of those, with SO_REUSEADDR set on the socket, and without; of the rest it is not known.
    pub(crate) reuseaddr: (u64, u64),
    /// Of those, of sockets whose own range of ports was looked at.
    pub(crate) looked: u64,
    /// Of those, of sockets that have one.
    pub(crate) ranged: u64,
    /// That of the last of these.
    pub(crate) range: (u16, u16),
    /// Of those, RSTs.
    pub(crate) resets: u64,
    /// Whose, and its program.
    pub(crate) who: Option<(Owner, u32)>,
}

impl<A: Copy + Hash + Eq, B: Hash + Eq> Counted<A, B> {
    fn count(&mut self, (one, other): (A, B), row: &Row) {
        let is_full = self.len >= MOST;
        let calls = match self.all.get_mut(&one) {
            Some(calls) => calls,
            None if is_full => return,
            None => {
                self.of_netns.entry(row.netns).or_default().push(one);
                self.all.entry(one).or_default()
            }
        };
        if is_full && !calls.contains_key(&other) {
            return;
        }
        let calls = calls.entry(other).or_default();
        calls.count += 1;
        calls.reuseaddr.0 += u64::from(row.reuseaddr == Some(true));
        calls.reuseaddr.1 += u64::from(row.reuseaddr == Some(false));
        if let Some(range) = row.own_range {
            calls.looked += 1;
            if range != (0, 0) {
                (calls.ranged, calls.range) = (calls.ranged + 1, range);
            }
        }
        calls.resets += u64::from(row.reason == Some(Reason::Reset));
        if calls.count == 1 {
            self.len += 1;
            calls.who = row.owner.map(|owner| (owner, row.exe));
        }
    }

    /// All of one kind.
    pub(crate) fn of(&self, one: &A) -> impl Iterator<Item = (&B, &Calls)> {
        self.all.get(one).into_iter().flatten()
    }

    /// All of a namespace.
    pub(crate) fn within(&self, netns: u32) -> impl Iterator<Item = (&A, &B, &Calls)> {
        let here = self.of_netns.get(&netns).into_iter().flatten();
        here.flat_map(|one| self.of(one).map(move |(other, calls)| (one, other, calls)))
    }

    /// All of one kind that are told apart so.
    pub(crate) fn find(&self, one: &A, other: &B) -> u64 {
        self.all.get(one).and_then(|calls| calls.get(other)).map_or(0, |calls| calls.count)
    }
}

/// Who it was.
pub(crate) fn caller(owner: Option<Owner>) -> Caller {
    owner.map_or((0, 0, NONE), |owner| (owner.pid, owner.start, owner.comm))
}

impl Failures {
    /// Takes in an event that is complete. Of one that could not be told apart for want of room nothing is known.
    #[inline]
    pub(crate) fn take(&mut self, row: &Row) {
        match row.kind {
            Kind::Created | Kind::Listed => self.ledger.take(row),
            Kind::Ended => {
                self.ledger.take(row);
                let is_killed_early =
                    (row.reason, row.substate) == (Some(Reason::Reset), Some(Substate::TimeWait));
                if is_killed_early {
                    *self.resets.entry(row.netns).or_default() += 1;
                    self.concerned.count((row.netns, caller(row.owner)), row);
                }
            }
            _ if row.saddr == OTHERS || row.daddr == OTHERS => {}
            _ => self.take_failure(row),
        }
    }

    fn take_failure(&mut self, row: &Row) {
        let who = caller(row.owner);
        // What failed for another reason says nothing of ports.
        if let Some(errno) = row.errno.filter(|_| row.failed_otherwise()) {
            self.refuse(row, errno);
            return;
        }
        self.ledger.take(row);
        match row.kind {
            Kind::ConnectFailed => {
                self.see_taken(row);
                self.connects.count(((PoolId::of(row), row.sport != 0), who), row);
            }
            Kind::BindFailed => self.binds.count(((row.netns, row.sport), (row.saddr, who)), row),
            Kind::Overflow => self.concerned.count((row.netns, who), row),
            Kind::Aborted => {
                self.aborted.count((row.netns, (who, row.why.unwrap_or(AbortWhy::Other))), row);
            }
            Kind::SynRefused => self.syn_refused.count((row.netns, (row.sport, row.daddr)), row),
            Kind::Created | Kind::Ended | Kind::Listed | Kind::Lost => {}
        }
    }

    fn refuse(&mut self, row: &Row, errno: Errno) {
        let (address, port) = match row.kind {
            Kind::ConnectFailed => (row.daddr, row.dport),
            Kind::BindFailed => (row.saddr, row.sport),
            _ => return,
        };
        self.refusals.count(((row.netns, row.kind, address, port), (errno, caller(row.owner))), row);
        let pool = PoolId::of(row);
        if row.kind == Kind::ConnectFailed && (self.others.len() < MOST || self.others.contains_key(&pool)) {
            *self.others.entry(pool).or_default() += 1;
        }
    }

    /// connect() from a port that the caller had bound: is there such a connection already?
    fn see_taken(&mut self, row: &Row) {
        let pool = PoolId::of(row);
        if row.sport == 0 || (self.taken.len() >= MOST && !self.taken.contains_key(&pool)) {
            return;
        }
        let (seen, asked) = self.taken.entry(pool).or_default();
        let mut held = self.ledger.taken(row.netns, row.sport);
        *seen += u64::from(held.any(|(held, _)| held.pool == pool));
        if asked.len() < MOST {
            asked.insert(row.sport);
        }
    }

    /// connect() failures towards a pool from a port that the caller had bound.
    pub(crate) fn failed_bound(&self, pool: &PoolId) -> u64 {
        self.connects.of(&(*pool, true)).map(|(_, calls)| calls.count).sum()
    }
}
