//! Owns: what the engine kept of failures, by name: who failed to get which port, whose TIME_WAIT sockets were refused or ended by
//! RSTs, and what was on the ports then.
//! Must not know: where events come from, how they are counted.

use std::collections::{BTreeMap, BTreeSet};

use super::crowd::{Crowd, HeldPorts, Holding};
use super::samples::Samples;
use super::{Aborted, BindFailure, Call, Netns, Outgoing, Process, Ranged, Refusal};
use super::{Served, Share, SynRefused, Tuple};
use crate::engine::failures::{Caller, Calls, Failures};
use crate::engine::ledger::{Held, PoolId};
use crate::engine::row::Owner;
use crate::engine::{Engine, TupleKey};
use crate::model::event::{AbortWhy, Kind};
use crate::model::identity::service_of;
use crate::model::ordering::Ordered as _;

/// See the head of the file.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    engine: &'a Engine,
    failures: Option<&'a Failures>,
}

impl<'a> Told<'a> {
    /// Of an engine that was asked to keep it; of another one nothing is known.
    pub(crate) fn of(engine: &'a Engine) -> Self {
        Self { engine, failures: engine.failures.as_deref() }
    }

    /// A process by name; nobody where that is not known.
    pub(super) fn process(&self, who: Option<(Owner, u32)>) -> Process {
        let Some((owner, exe)) = who.filter(|(owner, _)| !owner.is_forgotten()) else {
            return Process::default();
        };
        let text = |id: u32| self.engine.text(id).map(str::to_owned);
        Process {
            pid: Some(owner.pid),
            start_ns: owner.start,
            uid: Some(owner.uid),
            cgroup: text(owner.cgroup),
            comm: text(owner.comm).unwrap_or_default(),
            exe: text(exe),
            container: text(owner.container),
            unit: self.engine.text(owner.cgroup).and_then(service_of),
        }
    }

    /// The numbers of a pool; `None` where nothing was heard of it.
    fn pool(&self, key: &TupleKey) -> Option<PoolId> {
        let id = |address| self.engine.met_address(address);
        Some(PoolId { netns: key.netns, saddr: id(key.saddr)?, daddr: id(key.daddr)?, dport: key.dport })
    }

    fn tuple(&self, pool: &PoolId) -> Option<TupleKey> {
        let address = |id| self.engine.address(id);
        Some(TupleKey {
            netns: pool.netns,
            saddr: address(pool.saddr)?,
            daddr: address(pool.daddr)?,
            dport: pool.dport,
        })
    }

    fn holding(&self, held: &Held) -> Option<Holding> {
        let Held { is_client, substate, via, who, .. } = *held;
        Some(Holding { tuple: self.tuple(&held.pool)?, is_client, substate, via, who: self.process(who) })
    }

    /// connect() failures towards a pool that had nothing to do with ports.
    pub(super) fn failed_otherwise(&self, pool: &PoolId) -> u64 {
        self.failures.and_then(|failures| failures.others.get(pool).copied()).unwrap_or(0)
    }

    /// connect() failures towards a pool from a port that the caller had bound.
    pub(super) fn failed_bound(&self, pool: &PoolId) -> u64 {
        self.failures.map_or(0, |failures| failures.failed_bound(pool))
    }

    /// connect() failures of one process towards a pool.
    pub(super) fn failed_by(&self, pool: &PoolId, caller: &Caller) -> u64 {
        let Some(failures) = self.failures else { return 0 };
        [false, true].into_iter().map(|is_bound| failures.connects.find(&(*pool, is_bound), caller)).sum()
    }

    /// bind() and listen() failures of one process on a port.
    pub(super) fn not_bound_by(&self, netns: u32, port: u16, caller: &Caller) -> u64 {
        let Some(failures) = self.failures else { return 0 };
        let asked = (netns, port);
        failures.binds.of(&asked).filter(|((_, who), _)| who == caller).map(|(_, calls)| calls.count).sum()
    }

    /// TIME_WAIT sockets that an RST ended, those in FIN_WAIT2 left out.
    pub(super) fn resets(&self, netns: u32) -> u64 {
        self.failures.and_then(|failures| failures.resets.get(&netns).copied()).unwrap_or(0)
    }

    /// Who ended connections of a namespace with RSTs, most first.
    pub(super) fn aborted(&self, netns: u32) -> Vec<Aborted> {
        let mut all: BTreeMap<Process, Aborted> = BTreeMap::new();
        for ((_, why), calls) in self.failures.into_iter().flat_map(|failures| failures.aborted.of(&netns)) {
            let process = self.process(calls.who);
            let fresh = || Aborted { process: process.clone(), ..Aborted::default() };
            let aborted = all.entry(process.clone()).or_insert_with(fresh);
            *match why {
                AbortWhy::Linger => &mut aborted.linger,
                AbortWhy::UnreadData => &mut aborted.unread_data,
                AbortWhy::Other => &mut aborted.other,
            } += calls.count;
        }
        let mut all: Vec<Aborted> = all.into_values().collect();
        all.order_by_key(|aborted| std::cmp::Reverse(aborted.all()));
        all
    }

    /// SYNs that TIME_WAIT sockets of a namespace refused, most first.
    pub(super) fn syn_refused(&self, netns: u32) -> Vec<SynRefused> {
        let all = self.failures.into_iter().flat_map(|failures| failures.syn_refused.of(&netns));
        let mut all: Vec<SynRefused> = all
            .filter_map(|((port, peer), calls)| {
                Some(SynRefused { port: *port, peer: self.engine.address(*peer)?, count: calls.count })
            })
            .collect();
        all.order_by_key(|refused| (std::cmp::Reverse(refused.count), refused.port, refused.peer));
        all
    }

    /// Calls of a namespace that failed for another reason than the want of a port, most first.
    pub(super) fn refusals(&self, netns: u32) -> Vec<Refusal> {
        let all = self.failures.into_iter().flat_map(|failures| failures.refusals.within(netns));
        let mut all: Vec<Refusal> = all
            .filter_map(|((_, kind, address, port), (errno, _), calls)| {
                Some(Refusal {
                    call: if *kind == Kind::BindFailed { Call::Bind } else { Call::Connect },
                    errno: *errno,
                    address: self.engine.address(*address)?,
                    port: *port,
                    failed: calls.count,
                    caller: self.process(calls.who),
                })
            })
            .collect();
        all.order_by(|a, b| {
            (b.failed, a.port, &a.caller, a.address).cmp(&(a.failed, b.port, &b.caller, b.address))
        });
        all
    }

    /// Whose TIME_WAIT sockets were refused or ended by RSTs, most first.
    pub(super) fn concerned(&self, netns: u32) -> Vec<(Caller, Share)> {
        let share = |calls: &Calls| Share {
            process: self.process(calls.who),
            lost: calls.count,
            reset: calls.resets,
            ..Share::default()
        };
        let all = self.failures.into_iter().flat_map(|failures| failures.concerned.of(&netns));
        let mut shares: Vec<(Caller, Share)> = all.map(|(caller, calls)| (*caller, share(calls))).collect();
        shares.order_by(|(_, a), (_, b)| (b.lost, &a.process).cmp(&(a.lost, &b.process)));
        shares
    }

    /// Failures of bind() and listen() in a namespace, most first; who asked for what.
    pub(super) fn binds(&self, netns: u32) -> Vec<BindFailure> {
        let all = self.failures.into_iter().flat_map(|failures| failures.binds.within(netns));
        let mut all: Vec<BindFailure> = all
            .map(|((_, port), (saddr, _), calls)| BindFailure {
                saddr: self.engine.address(*saddr).filter(|saddr| !saddr.is_unspecified()),
                port: *port,
                failed: calls.count,
                reuseaddr: calls.reuseaddr.0,
                no_reuseaddr: calls.reuseaddr.1,
                ranged: Ranged::of(std::iter::once(calls)),
                caller: self.process(calls.who),
                destinations: 0,
            })
            .collect();
        all.order_by(|a, b| {
            (b.failed, a.port, &a.caller, a.saddr).cmp(&(a.failed, b.port, &b.caller, b.saddr))
        });
        all
    }

    /// Says of each port that bind() was refused what of a client's was on it, and of each pool whose connection was asked for again
    /// whether that was seen.
    fn tell_taken(&self, failures: &Failures, netns: &mut Netns, samples: Option<&Samples>) {
        let inode = netns.netns;
        let asked: BTreeSet<u16> =
            netns.binds.iter().map(|bind| bind.port).filter(|port| *port != 0).collect();
        for port in asked {
            let taken = failures.ledger.taken(inode, port);
            let outgoing: Vec<Outgoing> = taken
                .filter_map(|(held, left_ms)| {
                    let Holding { tuple, is_client, via, who, .. } = self.holding(held)?;
                    Some(Outgoing {
                        process: who,
                        daddr: tuple.daddr,
                        dport: tuple.dport,
                        is_client,
                        is_bound: Outgoing::is_bound(via),
                        left_ms,
                    })
                })
                .collect();
            match netns.served.iter_mut().find(|served| served.port == port) {
                Some(served) => served.outgoing = outgoing,
                None if outgoing.is_empty() => {}
                None => netns.served.push(Served { port, outgoing, ..Served::default() }),
            }
        }
        for tuple in netns.tuples.iter_mut().filter(|tuple| tuple.failed_bound != 0) {
            let known = self.pool(&tuple.key(inode)).and_then(|pool| failures.taken.get(&pool));
            let Some((seen, ports)) = known else { continue };
            let is_listed =
                |port: &u16| samples.is_some_and(|samples| samples.has_connection(&tuple.key(inode), *port));
            let listed = ports.iter().any(is_listed);
            tuple.taken = if listed { tuple.failed_bound } else { *seen };
        }
    }

    /// Says of each pool of a namespace for which connect() failed what was on the ports at that time, as far as events and, where
    /// there are any, looks tell.
    pub fn tell(&self, netns: &mut Netns, samples: Option<&Samples>) {
        let Some(failures) = self.failures else { return };
        let inode = netns.netns;
        self.tell_taken(failures, netns, samples);
        let bound = failures.ledger.bound(inode);
        for tuple in &mut netns.tuples {
            let pool = self.pool(&tuple.key(inode));
            tuple.bound = pool.and_then(|pool| bound.get(&pool).copied()).unwrap_or(0);
        }
        for tuple in netns.tuples.iter_mut().filter(|tuple| tuple.failed != 0) {
            tuple.ranged = self.ranged(failures, inode, tuple);
            let moment = self.moment(failures, &tuple.key(inode));
            let seen = samples.map_or(&[][..], |samples| &samples.crowd);
            Crowd { moment: moment.as_ref(), seen, settings: &netns.settings }.tell(inode, tuple);
        }
    }

    /// What sockets say that failed to connect to there and had not bound a port; a call may not have come as far as to have a source.
    fn ranged(&self, failures: &Failures, netns: u32, tuple: &Tuple) -> Ranged {
        let Some(daddr) = self.engine.met_address(tuple.daddr) else { return Ranged::default() };
        let is_from = |pool: &PoolId| {
            let saddr = self.engine.address(pool.saddr);
            saddr.is_none_or(|saddr| saddr.is_unspecified() || saddr == tuple.saddr)
        };
        let all = failures.connects.within(netns).filter(|((pool, is_bound), _, _)| {
            !is_bound && pool.daddr == daddr && pool.dport == tuple.dport && is_from(pool)
        });
        Ranged::of(all.map(|(_, _, calls)| calls))
    }

    fn moment(&self, failures: &Failures, key: &TupleKey) -> Option<HeldPorts> {
        let daddr = self.engine.met_address(key.daddr)?;
        let moment = failures.ledger.moment((key.netns, daddr, key.dport))?;
        let all = moment.iter();
        Some(
            all.map(|(port, all)| (*port, all.iter().filter_map(|held| self.holding(held)).collect()))
                .collect(),
        )
    }
}
