//! Owns: the columns about processes: who closed a connection, who opened it, and what user space found out about them.
//! Must not know: the other columns of an event.

use std::sync::Arc;

use arrow_schema::ArrowError;

use super::{Put, U32, U64};
use crate::model::event::{Comm, Opener, Process, Via};
use crate::model::identity::{Identity, Names};
use crate::recording::filling::{Texts, Words};

pub(super) struct OwnerColumns {
    pid: U32,
    tid: U32,
    comm: Texts<Comm>,
    uid: U32,
    cgroup_id: U64,
    start_ns: U64,
    pub(super) via: Words,
}

pub(super) struct IdentityColumns {
    texts: [Texts<String>; IDENTITY_TEXTS.len()],
    /// Those that were asked for last, and where their texts stand in the dictionaries.
    recent: [Option<Recent>; 2],
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

    pub(super) fn set(&mut self, row: usize, owner: &Process) {
        self.pid.set(row, owner.pid);
        self.tid.set(row, owner.tid);
        self.comm.set(row, &owner.comm, |comm| comm.text().into_owned());
        self.uid.set(row, owner.uid);
        self.cgroup_id.set_some(row, Some(owner.cgroup_id).filter(|id| *id != 0));
        self.start_ns.set(row, owner.start_ns);
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
struct Recent {
    identity: Arc<Identity>,
    is_named: bool,
    indexes: Indexes,
}

impl IdentityColumns {
    pub(super) fn new() -> Self {
        Self { texts: std::array::from_fn(|_| Texts::new()), recent: [None, None] }
    }

    pub(super) fn set(&mut self, row: usize, identity: &Arc<Identity>) {
        let mut recent = self.recent.iter().flatten();
        let is_named = identity.names.get().is_some();
        let is_it = |recent: &&Recent| Arc::ptr_eq(&recent.identity, identity) && recent.is_named == is_named;
        let found = recent.find(is_it).map(|recent| recent.indexes);
        let indexes = found.unwrap_or_else(|| self.indexes(identity));
        for (column, index) in self.texts.iter_mut().zip(indexes) {
            if let Some(index) = index {
                column.set_index(row, index);
            }
        }
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
        let indexes = std::array::from_fn(|_| {
            let (column, text) = columns.next()?;
            text.map(|text| column.index(text, str::to_owned))
        });
        self.recent.swap(0, 1);
        self.recent[0] = Some(Recent { identity: identity.clone(), is_named: names.is_some(), indexes });
        indexes
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        // A dictionary may be begun anew.
        self.recent = [None, None];
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

    pub(super) fn set(&mut self, row: usize, opener: &Opener) {
        self.pid.set(row, opener.pid);
        self.comm.set(row, &opener.comm, |comm| comm.text().into_owned());
        self.start_ns.set(row, opener.start_ns);
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("opener_pid", self.pid.column(rows)?);
        put("opener_comm", self.comm.column(rows)?);
        put("opener_start_ns", self.start_ns.column(rows)?);
        Ok(())
    }
}
