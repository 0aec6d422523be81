//! Owns: the numbers of processes that events name, and what user space found out about each.
//! Must not know: what is counted.

use std::collections::HashMap;
use std::sync::Arc;

use super::counting::Engine;
use super::intern::Hasher;
use super::keys::ProcessKey;
use super::limits::Limits;
use super::row::Owner;
use crate::model::event::Process;
use crate::model::identity::Identity;

/// What tells one life of a process from another: exec() and setuid() begin a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Life {
    key: ProcessKey,
    uid: u32,
    cgroup_id: u64,
    /// User space knows something of it.
    is_known: bool,
}

#[derive(Debug)]
struct Numbered {
    owner: Owner,
    exe: u32,
    identity: Option<Arc<Identity>>,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Owners {
    numbered: HashMap<Life, Numbered, Hasher>,
    identities: HashMap<ProcessKey, Arc<Identity>, Hasher>,
    most: usize,
}

impl Owners {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { numbered: HashMap::default(), identities: HashMap::default(), most: limits.groups }
    }

    /// The numbers of a process and of its program.
    pub(super) fn number(
        &mut self,
        process: &Process,
        identity: Option<&Arc<Identity>>,
        engine: &mut Engine,
    ) -> (Owner, u32) {
        let key = ProcessKey::from(process);
        let life = Life { key, uid: process.uid, cgroup_id: process.cgroup_id, is_known: identity.is_some() };
        if let Some(known) = self.numbered.get(&life) {
            let is_same =
                |one: &Arc<Identity>| known.identity.as_ref().is_some_and(|two| Arc::ptr_eq(one, two));
            if identity.is_none_or(is_same) {
                return (known.owner, known.exe);
            }
        }
        let (owner, exe) = engine.owner(process, identity.map(|identity| &**identity));
        if self.numbered.len() >= self.most {
            self.numbered.clear();
        }
        self.numbered.insert(life, Numbered { owner, exe, identity: identity.cloned() });
        if let Some(identity) = identity
            && (self.identities.len() < self.most || self.identities.contains_key(&key))
        {
            self.identities.insert(key, identity.clone());
        }
        (owner, exe)
    }

    /// What user space found out about a process, when last heard of.
    pub(super) fn identity(&self, key: &ProcessKey) -> Option<Arc<Identity>> {
        self.identities.get(key).cloned()
    }

    /// All numbers are new ones; and only who has a row is of interest.
    pub(super) fn forget(&mut self, engine: &Engine) {
        self.numbered.clear();
        let rows = 0..engine.groups.rows.len() as u32;
        let named: std::collections::HashSet<ProcessKey> =
            rows.filter_map(|row| engine.process_key(row)).collect();
        self.identities.retain(|key, _| named.contains(key));
    }
}
