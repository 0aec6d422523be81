//! Owns: whose an event is, by what people call it: program, systemd unit, container; and which of them still run.
//! Must not know: what is counted.
//!
//! What a process is called is settled when it is first heard of, and remembered while it runs or has a live socket: a socket ends under
//! the name that it began with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::engine::ProcessKey;
use crate::host::identity::pids;
use crate::model::escape::{printable, process_name};
use crate::model::event::{Conn, Event, Kind, Process, Role};
use crate::model::identity::{Identity, Names, Naming, unit_of};

/// Processes that are remembered; what comes from more than that is in `other`.
const MOST: usize = 1 << 16;
/// Longest name, in characters.
const LONGEST: usize = 128;

/// What people call an owner. Escaped and bounded; all of it is empty where the owner is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    /// Its process name.
    pub(super) program: String,
    /// Its systemd unit; empty where there is none.
    pub(super) unit: String,
    /// Its container; empty on the host.
    pub(super) container: String,
}

impl Name {
    fn of(process: &Process, identity: Option<&Identity>) -> Self {
        let cgroup = identity.and_then(|identity| identity.cgroup.as_deref()).unwrap_or_default();
        let container = identity.and_then(|identity| identity.container.as_ref());
        Self {
            // No name means that the owner is not known.
            program: process_name(&process.comm.text()).into_owned(),
            unit: bounded(unit_of(cgroup)),
            container: container.map_or_else(String::new, |container| bounded(&container.to_string())),
        }
    }
}

fn bounded(text: &str) -> String {
    printable(text).chars().take(LONGEST).collect()
}

/// An owner, and which end of connections it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OwnerKey {
    /// What it is called.
    pub(super) name: Arc<Name>,
    /// Which end.
    pub(super) role: Role,
}

/// What a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum DealingEnd {
    /// A remote end that is connected to.
    Remote(std::net::IpAddr, u16),
    /// A local port that is served, or could not be bound.
    Served(u16),
}

impl DealingEnd {
    /// Of an event's connection.
    pub(super) fn of(kind: Kind, role: Role, conn: &Conn) -> Self {
        match (kind, role) {
            (Kind::BindFailed | Kind::SynRefused, _) | (_, Role::Server) => Self::Served(conn.sport),
            _ => Self::Remote(conn.daddr, conn.dport),
        }
    }
}

impl std::fmt::Display for DealingEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Remote(address, port) => std::net::SocketAddr::new(*address, *port).fmt(f),
            Self::Served(port) => write!(f, ":{port}"),
        }
    }
}

/// An owner, and what it deals with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DealingKey {
    /// Who.
    pub(super) owner: OwnerKey,
    /// With what.
    pub(super) destination: DealingEnd,
}

/// A process in one of its lives, see `engine::processes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Life {
    key: ProcessKey,
    cgroup_id: u64,
}

#[derive(Debug)]
struct NamedProcess {
    name: Arc<Name>,
    /// TIME_WAIT sockets of its that live.
    sockets: u32,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Owners {
    lives: HashMap<Life, NamedProcess>,
    /// How many processes have this name.
    running: HashMap<Arc<Name>, usize>,
    /// What their containers are called, which may become known later.
    namings: HashMap<String, Naming>,
    unknown: Arc<Name>,
    /// Pids can be looked up here.
    sees_processes: bool,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            lives: HashMap::new(),
            running: HashMap::new(),
            namings: HashMap::new(),
            unknown: Arc::default(),
            sees_processes: pids::are_ours(),
        }
    }
}

impl Owners {
    /// Whose an event is; `None` where there is no room to tell.
    pub(super) fn owner_of(&mut self, event: &Event) -> Option<OwnerKey> {
        let role = event.role;
        let Some(process) = &event.owner else { return Some(OwnerKey { name: self.unknown.clone(), role }) };
        let life = Life { key: ProcessKey::from(process), cgroup_id: process.cgroup_id };
        let is_end = event.kind == Kind::Ended;
        if !self.lives.contains_key(&life) {
            if is_end || self.is_full() {
                return None;
            }
            let name = self.enter(Name::of(process, event.identity.as_deref()));
            if let Some(identity) = event.identity.as_deref().filter(|_| !name.container.is_empty()) {
                self.namings.insert(name.container.clone(), identity.names.clone());
            }
            self.lives.insert(life, NamedProcess { name, sockets: 0 });
        }
        let known = self.lives.get_mut(&life)?;
        match event.kind {
            Kind::Created | Kind::Listed => known.sockets += 1,
            Kind::Ended => known.sockets = known.sockets.saturating_sub(1),
            _ => {}
        }
        Some(OwnerKey { name: known.name.clone(), role })
    }

    fn enter(&mut self, name: Name) -> Arc<Name> {
        let name = match self.running.get_key_value(&name) {
            Some((known, _)) => known.clone(),
            None => Arc::new(name),
        };
        *self.running.entry(name.clone()).or_default() += 1;
        name
    }

    /// Whether there is no room for another process, even without those that have nothing alive.
    fn is_full(&mut self) -> bool {
        if self.lives.len() >= MOST {
            self.retain(|_| false);
        }
        self.lives.len() >= MOST
    }

    /// Forgets processes that have ended. Meant to be called every few seconds.
    pub(super) fn refresh(&mut self) {
        let sees_processes = self.sees_processes;
        self.retain(|pid| sees_processes && pids::exists(pid));
        let used: HashSet<&str> = self.running.keys().map(|name| name.container.as_str()).collect();
        self.namings.retain(|container, _| used.contains(container.as_str()));
    }

    /// What containers are called, as far as it is known by now.
    pub(super) fn containers(&self) -> BTreeMap<String, Names> {
        let named =
            |(container, naming): (&String, &Naming)| Some((container.clone(), naming.get()?.clone()));
        self.namings.iter().filter_map(named).collect()
    }

    /// Those without a live socket stay only where `stays` says so of their pid.
    fn retain(&mut self, stays: impl Fn(u32) -> bool) {
        let running = &mut self.running;
        self.lives.retain(|life, known| {
            let is_kept = known.sockets != 0 || stays(life.key.pid);
            if !is_kept && let Some(count) = running.get_mut(&known.name) {
                *count -= 1;
                if *count == 0 {
                    running.remove(&known.name);
                }
            }
            is_kept
        });
    }

    /// Whether no process has this name any more.
    pub(super) fn is_gone(&self, owner: &OwnerKey) -> bool {
        !self.running.contains_key(&owner.name)
    }
}
