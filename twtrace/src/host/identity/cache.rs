//! Owns: which process is known already, so that each is looked up once and remembered after it is gone.
//! Must not know: where events come from, clocks: the time is handed in.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use hashlink::LruCache;

use super::cgroup::CgroupIndex;
use super::cmdline::{Reader, Wanted};
use super::proc::{LiveProcess, Proc, told};
use crate::engine::Hasher;
use crate::host::runtimes::Runtimes;
use crate::model::event::Comm;
use crate::model::identity::{Cmdline, Container, Identity, Naming, container_of};
use crate::model::limitation::{Limitation, What};

/// A process in one of its lives: a pid is used again, and exec() makes another program of the same process, which
/// shows as another name. A process can also be moved to another cgroup.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct IdentityKey {
    pid: u32,
    start_ns: u64,
    comm: Option<Comm>,
    cgroup_id: u64,
}

/// Remembers who processes are. The least recently asked for is forgotten first.
pub struct IdentityCache {
    known: LruCache<IdentityKey, Arc<Identity>, Hasher>,
    /// Who was asked for last: mostly it is the same again.
    last: Option<(IdentityKey, Arc<Identity>)>,
    proc: Proc,
    /// Who reads command lines, where somebody wants them.
    cmdlines: Option<Reader>,
    cgroups: CgroupIndex,
    /// Who is asked for the names of containers, where somebody is.
    runtimes: Option<Runtimes>,
    /// A pid of the kernel's is another process there.
    pids_are_others: bool,
}

impl IdentityCache {
    /// For up to `capacity` processes of this machine; `runtimes` are asked for the names of containers. Command lines are read only where they
    /// are wanted: that takes as long as all the rest, each may have 4 KiB, and there may be secrets in it.
    pub fn new(capacity: usize, runtimes: Option<Runtimes>, command_lines: bool) -> Self {
        let mut cache = Self { runtimes, ..Self::under(Path::new("/proc"), capacity) };
        cache.cmdlines = cache.cmdlines.filter(|_| command_lines);
        cache.pids_are_others = !super::pids::are_the_kernels();
        cache
    }

    /// That containers have no names from now on, once that has come about.
    pub fn lost_names(&mut self) -> Option<Limitation> {
        let died = self.runtimes.as_mut()?.died()?;
        let why = format!("{died}; containers that are met from now on have no names");
        Some(Limitation::new(What::Processes, why, "report it, with what stderr says"))
    }

    /// Whether everybody in cgroup `id` of v2 is in the cgroup `path`, and nobody else.
    pub fn is_cgroup(&mut self, path: &str, id: u64) -> bool {
        self.cgroups.is_of(path, id)
    }

    fn under(proc_root: &Path, capacity: usize) -> Self {
        Self {
            known: LruCache::with_hasher(capacity.max(1), Hasher::default()),
            last: None,
            proc: Proc::new(proc_root),
            cmdlines: Some(Reader::new(proc_root)),
            cgroups: CgroupIndex::new(proc_root),
            runtimes: None,
            pids_are_others: false,
        }
    }

    /// Who the process is that the kernel side saw: the fields of a `wire::Task`.
    ///
    /// It is looked up the first time it is met under this name and in this cgroup; what could not be read then stays
    /// unknown, except for the cgroup, which is tried again. Program and arguments are taken only if the process
    /// still has the name `comm`, for otherwise it may have called exec() since. `start_ns` is
    /// `task.start_boottime`; `cgroup_id` is 0 where unknown; `now_ns` is of any clock that only goes up.
    pub fn resolve(
        &mut self,
        pid: u32,
        start_ns: u64,
        comm: Option<Comm>,
        cgroup_id: u64,
        now_ns: u64,
    ) -> Arc<Identity> {
        let key = IdentityKey { pid, start_ns, comm, cgroup_id };
        if let Some((last, known)) = &self.last
            && *last == key
        {
            return known.clone();
        }
        let identity = self.search(key, now_ns);
        // What is missing may be found later.
        let is_whole = identity.cgroup.is_some() || cgroup_id == 0;
        self.last = is_whole.then(|| (key, identity.clone()));
        identity
    }

    fn search(&mut self, key: IdentityKey, now_ns: u64) -> Arc<Identity> {
        let cgroup_id = key.cgroup_id;
        if let Some(known) = self.known.get_mut(&key) {
            if known.cgroup.is_none()
                && cgroup_id != 0
                && let Some(path) = self.cgroups.path(cgroup_id, now_ns)
            {
                let identity = Arc::make_mut(known);
                identity.container = container_of(path);
                identity.cgroup = Some(path.to_owned());
                identity.names = names(&mut self.runtimes, identity.container.as_ref(), now_ns);
            }
            return known.clone();
        }
        let identity = Arc::new(self.look_up(&key, now_ns));
        self.known.insert(key, identity.clone());
        identity
    }

    fn look_up(&mut self, key: &IdentityKey, now_ns: u64) -> Identity {
        let known = self.cgroups.known(key.cgroup_id).map(|path| (Some(path.to_owned()), container_of(path)));
        let find = || self.proc.find(key.pid, key.start_ns, known.is_none());
        let found = if self.pids_are_others { None } else { find() };
        let (cgroup, container) = known.unwrap_or_else(|| self.cgroup(found.as_ref(), key.cgroup_id, now_ns));
        let same_name = |found: &LiveProcess| key.comm.is_none_or(|comm| comm == found.comm);
        let (program, cmdline) = (found.filter(same_name), Cmdline::default());
        if let (Some(cmdlines), true) = (&mut self.cmdlines, program.is_some()) {
            let IdentityKey { pid, start_ns, comm, .. } = *key;
            cmdlines.ask(Wanted { pid, start_ns, comm, into: cmdline.clone() });
        }
        let names = names(&mut self.runtimes, container.as_ref(), now_ns);
        Identity { exe: program.and_then(|program| program.exe), cmdline, cgroup, container, names }
    }

    /// The cgroup at the time of the event, which is what `id` tells; /proc tells that of now.
    fn cgroup(
        &mut self,
        found: Option<&LiveProcess>,
        id: u64,
        now_ns: u64,
    ) -> (Option<String>, Option<Container>) {
        let cgroups = found.map(|found| &found.cgroups);
        let in_proc = cgroups.and_then(|cgroups| cgroups.v2.as_deref());
        let v1 = cgroups.map(|cgroups| cgroups.v1.as_slice()).unwrap_or_default();
        let v2 = match in_proc {
            Some(path) if id == 0 || !self.cgroups.is_mounted() || self.cgroups.confirms(path, id) => {
                Some(path)
            }
            _ if id != 0 => self.cgroups.path(id, now_ns),
            _ => None,
        };
        let container = v2.and_then(container_of).or_else(|| v1.iter().find_map(|path| container_of(path)));
        (told(v2, v1).map(str::to_owned), container)
    }
}

fn names(runtimes: &mut Option<Runtimes>, container: Option<&Container>, now_ns: u64) -> Naming {
    let asked = runtimes.as_mut().zip(container);
    asked.map_or_else(Naming::default, |(runtimes, container)| runtimes.names(container, now_ns))
}
