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

#[derive(Clone, Debug)]
struct NumberedProcess {
    owner: Owner,
    exe: u32,
    identity: Option<Arc<Identity>>,
}

impl NumberedProcess {
    /// Whether nothing else is known of the process by now.
    fn is_about(&self, identity: Option<&Arc<Identity>>) -> bool {
        let is_same = |one: &Arc<Identity>| self.identity.as_ref().is_some_and(|two| Arc::ptr_eq(one, two));
        identity.is_none_or(is_same)
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Owners {
    numbered: HashMap<Life, NumberedProcess, Hasher>,
    identities: HashMap<ProcessKey, Arc<Identity>, Hasher>,
    most: usize,
    /// Who was asked for last, and the answer: mostly the same is asked for again.
    last: Option<(Life, NumberedProcess)>,
}

impl Owners {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { numbered: HashMap::default(), identities: HashMap::default(), most: limits.groups, last: None }
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
        let last = self.last.as_ref().filter(|(last, _)| *last == life).map(|(_, known)| known);
        if let Some(known) = last.filter(|known| known.is_about(identity)) {
            return (known.owner, known.exe);
        }
        if let Some(known) = self.numbered.get(&life).filter(|known| known.is_about(identity)) {
            let found = (known.owner, known.exe);
            self.last = Some((life, known.clone()));
            return found;
        }
        let (owner, exe) = engine.owner(process, identity.map(|identity| &**identity));
        if self.numbered.len() >= self.most {
            self.numbered.clear();
        }
        self.numbered.insert(life, NumberedProcess { owner, exe, identity: identity.cloned() });
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
        self.last = None;
        let rows = 0..engine.groups.rows.len() as u32;
        let named: std::collections::HashSet<ProcessKey> =
            rows.filter_map(|row| engine.process_key(row)).collect();
        self.identities.retain(|key, _| named.contains(key));
    }
}
