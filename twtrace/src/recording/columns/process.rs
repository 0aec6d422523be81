//! Owns: the columns about processes: who closed a connection, who opened it, and what user space found out about them.
//! Must not know: the other columns of an event.

use std::sync::Arc;

use arrow_schema::ArrowError;

use super::flat::{self, Chunk, Flat};
use super::{Put, U32, U64};
use crate::model::event::{Comm, Opener, Process, Via};
use crate::model::identity::{Identity, Names};
use crate::recording::filling::{Said, Texts, Words};

pub(super) struct OwnerColumns {
    pid: U32,
    tid: U32,
    comm: Texts<Comm>,
    uid: U32,
    cgroup_id: U64,
    start_ns: U64,
    via: Words,
}

pub(super) struct IdentityColumns {
    texts: [Texts<String>; IDENTITY_TEXTS.len()],
    /// Those of the events that wait, and where their texts stand in the dictionaries: by the numbers that the events have of them.
    waiting: Vec<AskedIdentity>,
}

pub(super) struct OpenerColumns {
    pid: U32,
    comm: Texts<Comm>,
    start_ns: U64,
}

impl OwnerColumns {
    pub(super) fn new() -> Self {
        Self {
            pid: U32::new(),
            tid: U32::new(),
            comm: Texts::new(),
            uid: U32::new(),
            cgroup_id: U64::new(),
            start_ns: U64::new(),
            via: Words::new(Via::ALL.iter().map(|via| via.word())),
        }
    }

    pub(super) fn flatten(&mut self, owner: &Process, flat: &mut Flat) {
        flat.parts |= flat::OWNER | if owner.cgroup_id == 0 { 0 } else { flat::CGROUP_ID };
        (flat.pid, flat.tid, flat.uid) = (owner.pid, owner.tid, owner.uid);
        (flat.cgroup_id, flat.start_ns) = (owner.cgroup_id, owner.start_ns);
        flat.comm = self.comm.index_again(&owner.comm, |comm| comm.text().into_owned());
    }

    pub(super) fn fill(&mut self, chunk: &Chunk<'_>) {
        let rows = chunk.of(flat::OWNER);
        self.pid.fill(&rows, |flat| flat.pid);
        self.tid.fill(&rows, |flat| flat.tid);
        self.comm.fill(&rows, |flat| flat.comm);
        self.uid.fill(&rows, |flat| flat.uid);
        self.cgroup_id.fill(&chunk.of(flat::CGROUP_ID), |flat| flat.cgroup_id);
        self.start_ns.fill(&rows, |flat| flat.start_ns);
        self.via.fill(&chunk.of(flat::VIA), |flat| flat.via);
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("pid", self.pid.column(rows)?);
        put("tid", self.tid.column(rows)?);
        put("comm", self.comm.column(rows)?);
        put("uid", self.uid.column(rows)?);
        put("cgroup_id", self.cgroup_id.column(rows)?);
        put("start_ns", self.start_ns.column(rows)?);
        put("owner_via", self.via.column(rows)?);
        Ok(())
    }
}

/// The columns that say who a process is.
const IDENTITY_TEXTS: [&str; 9] = [
    "exe",
    "cgroup",
    "container",
    "container_id",
    "pod_uid",
    "container_name",
    "image",
    "pod",
    "pod_namespace",
];

/// Where the texts of an identity stand in the dictionaries of [`IDENTITY_TEXTS`].
type Indexes = [Option<i32>; IDENTITY_TEXTS.len()];

/// An identity that was asked for. What its container is called may become known between two events.
struct AskedIdentity {
    identity: Arc<Identity>,
    is_named: bool,
    indexes: Indexes,
}

impl IdentityColumns {
    pub(super) fn new() -> Self {
        Self { texts: std::array::from_fn(|_| Texts::new()), waiting: Vec::new() }
    }

    pub(super) fn flatten(&mut self, identity: &Arc<Identity>, flat: &mut Flat) {
        let is_named = identity.names.get().is_some();
        let is_it = |one: &AskedIdentity| Arc::ptr_eq(&one.identity, identity) && one.is_named == is_named;
        // Mostly it is the one before, or the one before that: the two ends of a connection take turns.
        let number = self.waiting.iter().rposition(is_it).unwrap_or_else(|| {
            let indexes = self.indexes(identity);
            self.waiting.push(AskedIdentity { identity: identity.clone(), is_named, indexes });
            self.waiting.len() - 1
        });
        flat.parts |= flat::IDENTITY;
        flat.identity = number as u32;
    }

    pub(super) fn fill(&mut self, chunk: &Chunk<'_>) {
        let Self { texts, waiting } = self;
        for (at, column) in texts.iter_mut().enumerate() {
            let known = |flat: &Flat| waiting.get(flat.identity as usize)?.indexes[at];
            let is_known = waiting.iter().filter(|one| one.indexes[at].is_some()).count();
            let said = match (is_known, chunk.of(flat::IDENTITY).said) {
                (0, _) | (_, Said::Nothing) => Said::Nothing,
                (all, Said::All) if all == waiting.len() => Said::All,
                _ => Said::Where(|flat: &Flat| flat.parts & flat::IDENTITY != 0 && known(flat).is_some()),
            };
            column.fill(&chunk.rows(said), |flat| known(flat).unwrap_or(0));
        }
        waiting.clear();
    }

    fn indexes(&mut self, identity: &Arc<Identity>) -> Indexes {
        let container = identity.container.as_ref();
        let shown = container.map(ToString::to_string);
        let names = identity.names.get();
        let named = |part: fn(&Names) -> &Option<String>| names.and_then(|names| part(names).as_deref());
        let texts = [
            identity.exe.as_deref(),
            identity.cgroup.as_deref(),
            shown.as_deref(),
            container.map(|container| container.id.as_str()),
            container.and_then(|container| container.pod_uid.as_deref()),
            named(|names| &names.name),
            named(|names| &names.image),
            named(|names| &names.pod),
            named(|names| &names.pod_namespace),
        ];
        let mut columns = self.texts.iter_mut().zip(texts);
        std::array::from_fn(|_| {
            let (column, text) = columns.next()?;
            text.map(|text| column.index(text, str::to_owned))
        })
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        for (name, column) in IDENTITY_TEXTS.into_iter().zip(&mut self.texts) {
            put(name, column.column(rows)?);
        }
        Ok(())
    }
}

impl OpenerColumns {
    pub(super) fn new() -> Self {
        Self { pid: U32::new(), comm: Texts::new(), start_ns: U64::new() }
    }

    pub(super) fn flatten(&mut self, opener: &Opener, flat: &mut Flat) {
        flat.parts |= flat::OPENER;
        (flat.opener_pid, flat.opener_start_ns) = (opener.pid, opener.start_ns);
        flat.opener_comm = self.comm.index_again(&opener.comm, |comm| comm.text().into_owned());
    }

    pub(super) fn fill(&mut self, chunk: &Chunk<'_>) {
        let rows = chunk.of(flat::OPENER);
        self.pid.fill(&rows, |flat| flat.opener_pid);
        self.comm.fill(&rows, |flat| flat.opener_comm);
        self.start_ns.fill(&rows, |flat| flat.opener_start_ns);
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("opener_pid", self.pid.column(rows)?);
        put("opener_comm", self.comm.column(rows)?);
        put("opener_start_ns", self.start_ns.column(rows)?);
        Ok(())
    }
}
