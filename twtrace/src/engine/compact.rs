//! Owns: making room: what has been quiet longest goes into the groups of others, and what nobody needs any more is let go of.
//! Must not know: which sockets live, beyond how many a group has.
//!
//! Sums stay exact, and so does what lives: only groups without live sockets are folded.

use super::counting::Engine;
use super::groups::{Group, Groups, Table, earlier};
use super::intern::{FIRST, Interner, NONE, OTHERS};
use super::key::{Key, Side};
use super::pools::Pools;
use super::row::{Address, Owner};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Compacted {
    /// The new number of each group, by the old one.
    pub(crate) groups: Vec<u32>,
    /// Groups that are not told apart any more, those of processes that are gone left out.
    pub(crate) folded: u64,
}

/// New numbers of an interner's values, by the old ones.
struct Renumbered(Vec<u32>);

impl Renumbered {
    fn get(&mut self, id: u32, make: impl FnOnce() -> u32) -> u32 {
        if id < FIRST {
            return id;
        }
        match self.0.get_mut((id - FIRST) as usize) {
            Some(known) if *known != NONE => *known,
            Some(unknown) => {
                *unknown = make();
                *unknown
            }
            None => OTHERS,
        }
    }
}

/// What there was before, and how its numbers go over into new ones.
struct Move {
    texts: Interner<Box<str>>,
    addresses: Interner<Address>,
    groups: Groups,
    pools: Pools,
    known_texts: Renumbered,
    known_addresses: Renumbered,
    folded: u64,
}

impl Move {
    /// Empties an engine.
    fn out_of(engine: &mut Engine) -> Self {
        let texts = std::mem::replace(&mut engine.texts, Interner::new(engine.limits.texts));
        let addresses = std::mem::replace(&mut engine.addresses, Interner::new(engine.limits.addresses));
        let groups = std::mem::replace(&mut engine.groups, Groups::new(&engine.limits));
        let pools = engine.pools.without_tuples();
        let pools = std::mem::replace(&mut engine.pools, pools);
        Self {
            known_texts: Renumbered(vec![NONE; texts.len()]),
            known_addresses: Renumbered(vec![NONE; addresses.len()]),
            texts,
            addresses,
            groups,
            pools,
            folded: 0,
        }
    }

    fn text(&mut self, id: u32, engine: &mut Engine) -> u32 {
        let text = self.texts.get(id);
        self.known_texts.get(id, || text.map_or(OTHERS, |text| engine.texts.id_of(&**text, text.len())))
    }

    fn address(&mut self, id: u32, engine: &mut Engine) -> u32 {
        let address = self.addresses.get(id);
        self.known_addresses.get(id, || address.map_or(OTHERS, |address| engine.addresses.id(address)))
    }

    /// What a group that goes is folded into.
    fn folded(&mut self, group: &Group) -> Key {
        let is_gone = |row: u32| self.groups.rows.get(row as usize).is_some_and(|row| row.gone);
        match group.key.owner.filter(|owner| !owner.is_forgotten()) {
            Some(owner) if group.row(Table::Process).is_some_and(is_gone) => {
                Key { owner: Some(owner.forgotten()), ..group.key }
            }
            _ => {
                self.folded += u64::from(group.key.side != Side::Others);
                group.key.others()
            }
        }
    }

    /// The same key in new numbers.
    fn renumbered(&mut self, key: Key, engine: &mut Engine) -> Key {
        let owner = key.owner.map(|owner| Owner {
            comm: self.text(owner.comm, engine),
            cgroup: self.text(owner.cgroup, engine),
            container: self.text(owner.container, engine),
            ..owner
        });
        let (saddr, daddr) = (self.address(key.saddr, engine), self.address(key.daddr, engine));
        Key { owner, saddr, daddr, ..key }
    }

    /// Moves a group; returns its new number.
    fn take(&mut self, group: &Group, goes: bool, engine: &mut Engine) -> u32 {
        let key = if goes { self.folded(group) } else { group.key };
        let (key, exe) = (self.renumbered(key, engine), self.text(group.exe, engine));
        let (at, _) = engine.groups.enter(key, &mut engine.pools);
        let heir = &mut engine.groups.all[at as usize];
        heir.absorb(group);
        heir.exe = exe;
        for table in Table::ALL {
            let Some((old, new)) = group.row(table).zip(engine.group(at).row(table)) else { continue };
            let (before, row) = (self.groups.living[old as usize], &self.groups.rows[old as usize]);
            let living = &mut engine.groups.living[new as usize];
            living.now += group.live;
            living.most = living.most.max(before.most).max(living.now);
            let heir = &mut engine.groups.rows[new as usize];
            heir.gone |= row.gone && !goes;
            if let Some((mine, theirs)) = heir.pool().zip(row.pool()) {
                engine.pools.inherit(mine, &self.pools, theirs);
            }
        }
        at
    }
}

impl Group {
    /// Takes over all that was counted under another key.
    fn absorb(&mut self, other: &Self) {
        self.counts.take_over(&other.counts);
        self.otherwise.take_over(&other.otherwise);
        self.refused_ns = self.refused_ns.max(other.refused_ns);
        if other.wanted_ns > self.wanted_ns {
            self.wanted_ns = other.wanted_ns;
            self.wanted_held.clone_from(&other.wanted_held);
        }
        for (sum, part) in self.roles.iter_mut().zip(other.roles).chain(self.via.iter_mut().zip(other.via)) {
            *sum += part;
        }
        self.fin_wait2 += other.fin_wait2;
        self.starved += other.starved;
        self.under_5ms += other.under_5ms;
        self.live += other.live;
        self.made_ns = earlier(self.made_ns, other.made_ns);
        if other.first_ns != 0 && (self.first_ns == 0 || other.first_ns < self.first_ns) {
            self.first_ns = other.first_ns;
        }
        if other.last_ns >= self.last_ns {
            (self.last_ns, self.exe) = (other.last_ns, other.exe);
        }
        self.age_us.merge(&other.age_us);
        self.sent.merge(&other.sent);
        self.received.merge(&other.received);
        self.lifetime_ms.merge(&other.lifetime_ms);
        self.history.absorb(&other.history);
        if let Some(flow) = &other.flow {
            self.flow.get_or_insert_default().absorb(flow);
        }
    }
}

impl Engine {
    /// Makes room by a half; `None` where nothing can go. Who holds which ports now is to be said again.
    pub(crate) fn compact(&mut self) -> Option<Compacted> {
        let goes = self.quiet_longest();
        if goes.is_empty() {
            return None;
        }
        let mut is_going = vec![false; self.groups.all.len()];
        goes.iter().for_each(|at| is_going[*at as usize] = true);
        let mut old = Move::out_of(self);
        let all = std::mem::take(&mut old.groups.all);
        let moved = all.iter().zip(is_going).map(|(group, goes)| old.take(group, goes, self));
        let groups = moved.collect();
        self.groups.population = old.groups.population;
        Some(Compacted { groups, folded: old.folded })
    }

    /// Groups without live sockets that have been quiet longest: as many as make half of the room free, and a sixteenth at least.
    fn quiet_longest(&self) -> Vec<u32> {
        let all = &self.groups.all;
        let quiet =
            all.iter().enumerate().filter(|(_, group)| group.live == 0 && group.key.side != Side::Others);
        let mut quiet: Vec<(u64, u32)> = quiet.map(|(at, group)| (group.last_ns, at as u32)).collect();
        let wanted = all.len().saturating_sub(self.limits.groups / 2).max(all.len() / 16).max(1);
        quiet.sort_unstable();
        quiet.truncate(wanted);
        quiet.into_iter().map(|(_, at)| at).collect()
    }
}
