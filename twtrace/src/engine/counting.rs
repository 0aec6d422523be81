//! Owns: counting, the one way there is: an event goes into one group, sums for every table come out on reading. What is live, a
//! replay, a report, a comparison and the doctor read it.
//! Must not know: where events come from, which sockets live, how anything is shown.
//!
//! Memory grows with what is different, not with how much happens, and has an end: see [`Limits`].

use std::collections::HashMap;
use std::net::IpAddr;

use hashlink::LruCache;

use super::failures::Failures;
use super::groups::{Group, Groups};
use super::history::History;
use super::intern::{Hasher, Interner, NONE};
use super::key::{Key, RowId};
use super::keys::{PortKey, ProcessKey, Target, TupleKey};
use super::limits::Limits;
use super::pools::Pools;
use super::row::{Address, Named, Owner, Row};
use super::spread::Spread;
use crate::model::event::{Comm, Conn, Event, Kind, Loss, Reason};
use crate::model::filter::Omissions;
use crate::model::identity::{Identity, Naming};

/// Containers whose names are remembered.
const CONTAINERS: usize = 4096;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) texts: Interner<Box<str>>,
    pub(crate) addresses: Interner<Address>,
    pub(crate) groups: Groups,
    pub(crate) pools: Pools,
    /// Who listens where, as far as somebody said so.
    pub(crate) listeners: HashMap<PortKey, ProcessKey>,
    /// What containers are called, which may become known later: by what they are shown as.
    pub(crate) namings: LruCache<String, Naming>,
    /// Added up from `lost` events.
    pub(crate) loss: Loss,
    /// By reason, in the order of `Reason::ALL`.
    pub(crate) lifetimes: [Spread; Reason::ALL.len()],
    /// All together, where it is of interest what happened lately.
    pub(crate) history: History,
    /// Of what failed, what the doctor wants to know; `None` where nobody asked.
    pub(crate) failures: Option<Box<Failures>>,
    /// Whether anything but network namespaces is told apart.
    pub(crate) tells_apart: bool,
    /// Ends for other reasons are not counted; none: all are.
    pub(crate) reasons: Vec<Reason>,
    /// What is left out before it is counted.
    pub(crate) part: Omissions,
    pub(crate) limits: Limits,
}

impl Engine {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            texts: Interner::new(limits.texts),
            addresses: Interner::new(limits.addresses),
            groups: Groups::new(&limits),
            pools: Pools::default(),
            listeners: HashMap::new(),
            namings: LruCache::new(CONTAINERS),
            loss: Loss::default(),
            lifetimes: Default::default(),
            history: History::default(),
            failures: None,
            tells_apart: true,
            reasons: Vec::new(),
            part: Omissions::default(),
            limits,
        }
    }

    /// The number of a text; [`NONE`] of none.
    pub(crate) fn text_id(&mut self, text: Option<&str>) -> u32 {
        text.map_or(NONE, |text| self.texts.id_of(text, text.len()))
    }

    /// The group of a row, and whether it is new.
    #[inline]
    pub(crate) fn enter(&mut self, row: &Row) -> (u32, bool) {
        let Self { groups, pools, .. } = self;
        groups.enter(Key::of(row), pools)
    }

    /// Whether an end for this reason counts.
    #[inline]
    pub(crate) fn counts(&self, row: &Row) -> bool {
        self.reasons.is_empty()
            || row.kind != Kind::Ended
            || row.reason.is_some_and(|reason| self.reasons.contains(&reason))
    }

    /// Counts a row in its group. `second` is the present one, where what happened lately is of interest.
    #[inline]
    pub(crate) fn count(&mut self, at: u32, row: &Row, second: Option<u32>) {
        let counts = self.counts(row);
        let Self { groups, pools, addresses, .. } = self;
        let wants_port = row.kind == Kind::ConnectFailed && !row.failed_otherwise();
        if wants_port {
            let is_homeless = addresses.get(row.saddr).is_some_and(|Address(saddr)| saddr.is_unspecified());
            let pool = if is_homeless { groups.home_of(at, pools) } else { groups.pool_of(at) };
            let group = &mut groups.all[at as usize];
            group.starved += u64::from(pools.is_half_full(pool));
            **group.wanted_held.get_or_insert_default() = pools.held(pool);
        }
        if row.reason == Some(Reason::ReusedOutgoing) {
            pools.reuse(groups.pool_of(at), row.mono_ns);
        }
        let group = &mut groups.all[at as usize];
        if counts {
            group.count(row);
        } else {
            group.see(row.mono_ns);
        }
        if let Some(second) = second {
            group.note(row.kind, second, counts, !self.reasons.is_empty());
            if let Some(flow) = super::history::Flow::of(row.kind).filter(|_| counts) {
                self.history.add(second, flow);
            }
        }
        if let (Kind::Ended, Some(lifetime_ms)) = (row.kind, row.lifetime_ms) {
            self.lifetimes[row.reason.unwrap_or(Reason::Unknown) as usize].add(lifetime_ms);
        }
    }

    /// Counts an event where nothing but network namespaces is told apart; returns the group.
    #[inline]
    pub(crate) fn count_in_netns(&mut self, netns: u32, event: &Event) -> u32 {
        let Self { groups, pools, .. } = self;
        let (at, _) = groups.enter(Key::of_netns(netns), pools);
        groups.all[at as usize].counts.add(event.kind, event.reason);
        at
    }

    /// Tells those who want to know of failures.
    #[inline]
    pub(crate) fn tell_failures(&mut self, row: &Row) {
        if let Some(failures) = &mut self.failures {
            failures.take(row);
        }
    }

    /// One socket more lives in a group; returns the pressure of its tuple, if it holds one of the tuple's ports.
    #[inline]
    pub(crate) fn enter_one(&mut self, at: u32, port: u16, now_ns: u64) -> Option<f32> {
        if !self.tells_apart {
            self.groups.all[at as usize].live += 1;
            return None;
        }
        self.groups.enter_one(at, port, now_ns, &mut self.pools)
    }

    /// One socket less.
    #[inline]
    pub(crate) fn leave_one(&mut self, at: u32, port: u16) {
        if !self.tells_apart {
            let live = &mut self.groups.all[at as usize].live;
            *live = live.saturating_sub(1);
            return;
        }
        self.groups.leave_one(at, port, &mut self.pools);
    }

    /// Nothing lives any more; what was counted stays.
    pub(crate) fn let_go(&mut self) {
        self.groups.let_go();
        self.pools.let_go();
    }

    /// The numbers of what an event of this connection names; `owner` and its program have theirs already.
    pub(crate) fn named(&mut self, conn: &Conn, (owner, exe): (Option<Owner>, u32)) -> Named {
        let [saddr, daddr] = [conn.saddr, conn.daddr].map(|address| self.address_id(address));
        Named { saddr, daddr, owner, exe }
    }

    /// Numbers a process.
    pub(crate) fn owner(
        &mut self,
        process: &crate::model::event::Process,
        identity: Option<&Identity>,
    ) -> (Owner, u32) {
        let comm = self.text_id(Some(&process.comm.text()));
        let cgroup = self.text_id(identity.and_then(|identity| identity.cgroup.as_deref()));
        let container = identity.and_then(|identity| identity.container.as_ref()).map(ToString::to_string);
        if let Some((shown, identity)) = container.as_ref().zip(identity) {
            self.namings.insert(shown.clone(), identity.names.clone());
        }
        let container = self.text_id(container.as_deref());
        let exe = self.text_id(identity.and_then(|identity| identity.exe.as_deref()));
        let (pid, start, uid) = (process.pid, process.start_ns, process.uid);
        (Owner { pid, start, comm, uid, cgroup, container }, exe)
    }

    /// Groups whose events count.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Group)> {
        (0..).zip(&self.groups.all).filter(|(_, group)| group.passes)
    }

    /// Names a row of the table of processes.
    pub(crate) fn process_key(&self, row: u32) -> Option<ProcessKey> {
        match self.groups.rows.get(row as usize)?.id {
            RowId::Process { pid: 0, .. } => Some(ProcessKey::UNKNOWN),
            RowId::Process { pid, start, comm } => {
                Some(ProcessKey { pid, start_ns: start, comm: self.comm(comm) })
            }
            _ => None,
        }
    }

    /// Names a row of the table of pools or of ports.
    pub(crate) fn target(&self, row: u32) -> Option<Target> {
        self.target_of(self.groups.rows.get(row as usize)?.id)
    }

    pub(crate) fn target_of(&self, id: RowId) -> Option<Target> {
        match id {
            RowId::Tuple { netns, saddr, daddr, port } => {
                let (saddr, daddr) = (self.address(saddr)?, self.address(daddr)?);
                Some(Target::Tuple(TupleKey { netns, saddr, daddr, dport: port }))
            }
            RowId::Port { netns, port } => Some(Target::Port(PortKey { netns, sport: port })),
            _ => None,
        }
    }

    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        if id == super::intern::OTHERS { Some("(others)") } else { self.texts.get(id).map(|text| &**text) }
    }

    pub(crate) fn comm(&self, id: u32) -> Comm {
        Comm::new(self.text(id).unwrap_or_default())
    }

    /// The number of an address.
    #[inline]
    pub(crate) fn address_id(&mut self, address: IpAddr) -> u32 {
        self.addresses.id(&Address(address))
    }

    /// The number of an address that was met.
    pub(crate) fn met_address(&self, address: IpAddr) -> Option<u32> {
        self.addresses.find(&Address(address))
    }

    pub(crate) fn address(&self, id: u32) -> Option<IpAddr> {
        self.addresses.get(id).map(|Address(address)| *address)
    }

    /// Texts and addresses that there was no room for.
    pub(crate) fn refused(&self) -> u64 {
        self.texts.refused() + self.addresses.refused()
    }

    /// Whether something new can no longer be told apart.
    pub(crate) fn is_full(&self) -> bool {
        self.groups.is_full() || self.texts.is_full() || self.addresses.is_full()
    }

    /// Counts of each network namespace, and sockets that live in it.
    pub(crate) fn by_netns(&self) -> std::collections::HashMap<u32, (super::Counts, u64), Hasher> {
        let mut all = std::collections::HashMap::<u32, (super::Counts, u64), Hasher>::default();
        for (_, group) in self.all() {
            let (counts, live) = all.entry(group.key.netns).or_default();
            counts.take_over(&group.counts);
            *live += u64::from(group.live);
        }
        all
    }
}
