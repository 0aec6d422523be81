//! Owns: the way from a cgroup's id to its path, by looking through the v2 hierarchy.
//! Must not know: processes, clocks: the time is handed in.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hashlink::LruCache;

use crate::host::detached::Detached;
use crate::host::mountinfo;
use crate::model::limitation::{Limitation, What};

/// How many cgroups are remembered, and how many directories one look round visits, nearest to the root first.
const CAPACITY: usize = 50_000;
/// Time between two looks round, in nanoseconds: a second, and a millisecond for each directory of the last one.
/// A visit costs about 10 µs, so this stays near 1 % of a core however many cgroups there are.
const REST_NS: u64 = 1_000_000_000;
const REST_PER_DIR_NS: u64 = 1_000_000;

/// Paths by id. The id of a cgroup is the inode of its directory (`kernfs_node.id`); it is not used again, so a path
/// is still right after its cgroup was removed, and is remembered.
pub(super) struct CgroupIndex {
    /// Where the v2 hierarchy is mounted, if it is.
    mount: Option<PathBuf>,
    /// There are hierarchies of v1 besides: who is managed by them is in the root of v2.
    has_v1: bool,
    paths: LruCache<u64, String>,
    /// When the next look round may be taken.
    not_before_ns: u64,
    capacity: usize,
}

/// The id of the cgroup at `path`, if it has none below it: then whoever is in it has exactly this id. `None` where it has,
/// or is not there.
pub fn leaf_cgroup_id(path: &str) -> Option<u64> {
    let dir = v2_or_detached()?.join(path.strip_prefix('/')?);
    let nested =
        fs::read_dir(&dir).ok()?.flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if nested { None } else { fs::metadata(&dir).ok().map(|found| found.ino()) }
}

/// Whether there is a cgroup whose path `matches`; `true` where nothing can be looked at.
pub fn is_any_cgroup(matches: impl Fn(&str) -> bool) -> bool {
    let Some(mount) = v2_or_detached() else { return true };
    let all = walk(&mount, CAPACITY);
    all.len() >= CAPACITY || all.iter().any(|(_, path)| matches(path))
}

/// Where the v2 hierarchy is mounted as this process's cgroup namespace has it, if it is: paths in `/proc/self/cgroup` are below it.
pub fn v2_hierarchy() -> Option<PathBuf> {
    v2_mount(&fs::read("/proc/self/mountinfo").unwrap_or_default(), false)
}

fn v2_or_detached() -> Option<PathBuf> {
    v2_mount(&fs::read("/proc/self/mountinfo").unwrap_or_default(), true).or_else(detached)
}

/// The v2 hierarchy where it is mounted nowhere that we can see, as under `ip netns exec`: mounted for this process alone.
fn detached() -> Option<PathBuf> {
    static MOUNT: OnceLock<Option<Detached>> = OnceLock::new();
    MOUNT.get_or_init(|| Detached::mount(c"cgroup2").ok()).as_ref().map(Detached::root)
}

impl CgroupIndex {
    /// Finds the hierarchy in the mounts of the calling process.
    pub(super) fn new(proc_root: &Path) -> Self {
        let mounts = fs::read(proc_root.join("self/mountinfo")).unwrap_or_default();
        // Another root is that of a test.
        let elsewhere = || if proc_root == Path::new("/proc") { detached() } else { None };
        let cgroups = fs::read_to_string(proc_root.join("self/cgroup")).unwrap_or_default();
        // `0::` is that of v2 (cgroups(7)).
        let has_v1 = cgroups.lines().any(|line| !line.starts_with("0::"));
        Self { has_v1, ..Self::at(v2_mount(&mounts, true).or_else(elsewhere), CAPACITY) }
    }

    fn at(mount: Option<PathBuf>, capacity: usize) -> Self {
        Self { mount, has_v1: false, paths: LruCache::new(capacity), not_before_ns: 0, capacity }
    }

    /// Whether there is a hierarchy to look at.
    pub(super) fn is_mounted(&self) -> bool {
        self.mount.is_some()
    }

    /// The path of cgroup `id`, beginning with `/`, `/` for the root. `now_ns` is of any clock that only goes up.
    pub(super) fn path(&mut self, id: u64, now_ns: u64) -> Option<&str> {
        if !self.paths.contains_key(&id) && now_ns >= self.not_before_ns {
            let visited = self.refresh();
            self.not_before_ns = now_ns.saturating_add(REST_NS + REST_PER_DIR_NS * visited);
        }
        self.paths.get(&id).map(String::as_str)
    }

    /// The path of cgroup `id` where it is known already and says it all: there is no other hierarchy.
    pub(super) fn known(&mut self, id: u64) -> Option<&str> {
        if self.has_v1 { None } else { self.paths.get(&id).map(String::as_str) }
    }

    /// Whether `path` is that of cgroup `id`, and everybody's in it: on a machine that is managed with v1 all processes are in the root of v2,
    /// whatever else they are in.
    pub(super) fn is_of(&mut self, path: &str, id: u64) -> bool {
        (path != "/" || !self.has_v1) && self.confirms(path, id)
    }

    /// Whether `path` is that of cgroup `id`: known, or by one look instead of a look round.
    pub(super) fn confirms(&mut self, path: &str, id: u64) -> bool {
        if self.paths.get(&id).is_some_and(|known| known == path) {
            return true;
        }
        let Some(mount) = &self.mount else { return false };
        // Seen from within a cgroup namespace a path may climb out of what is mounted.
        let Some(below) = path.strip_prefix('/').filter(|below| below.split('/').all(|part| part != ".."))
        else {
            return false;
        };
        let confirmed = fs::metadata(mount.join(below)).is_ok_and(|dir| dir.is_dir() && dir.ino() == id);
        if confirmed {
            self.paths.insert(id, path.to_owned());
        }
        confirmed
    }

    /// Adds every cgroup there is, and returns how many directories were visited.
    fn refresh(&mut self) -> u64 {
        let Some(mount) = &self.mount else { return 0 };
        let found = walk(mount, self.capacity);
        let visited = found.len() as u64;
        // The ones nearest to the root last, so that they are the last to be forgotten.
        for (id, path) in found.into_iter().rev() {
            self.paths.insert(id, path);
        }
        visited
    }
}

/// Up to `most` directories, breadth first: a user who nests cgroups without end must not hide the others.
fn walk(mount: &Path, most: usize) -> Vec<(u64, String)> {
    let Ok(root) = fs::metadata(mount) else { return Vec::new() };
    let mut found = vec![(root.ino(), "/".to_owned())];
    let mut waiting = VecDeque::from([(mount.to_path_buf(), String::new())]);
    while let Some((dir, path)) = waiting.pop_front() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if found.len() >= most {
                return found;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name();
                let path = format!("{path}/{}", String::from_utf8_lossy(name.as_bytes()));
                found.push((entry.ino(), path.clone()));
                waiting.push_back((entry.path(), path));
            }
        }
    }
    found
}

/// The mount point of the v2 hierarchy; one that shows all of it if there are several. `above`: as seen from a cgroup namespace of its own, that
/// begins above what such a namespace calls the root.
fn v2_mount(mountinfo: &[u8], above: bool) -> Option<PathBuf> {
    let mounts: Vec<_> =
        mountinfo::parse(mountinfo).into_iter().filter(|mount| mount.fstype == "cgroup2").collect();
    let is_above =
        |root: &str| root.strip_prefix('/').is_some_and(|below| below.split('/').all(|part| part == ".."));
    let all = mounts.iter().find(|mount| above && is_above(&mount.root));
    let whole = all.or_else(|| mounts.iter().find(|mount| mount.root == "/"));
    whole.or(mounts.first()).map(|mount| mount.point.clone())
}

/// What is not known where this process sees a part of the hierarchy only: mostly it is in a cgroup namespace of its own
/// (cgroup_namespaces(7)), and the machine's hierarchy is not mounted here.
pub fn limitations() -> Vec<Limitation> {
    if v2_or_detached().is_none_or(|mount| is_whole(&mount)) {
        return Vec::new();
    }
    let why = "of the machine's cgroups a part can be seen here: those of others, their units and containers, are not known";
    let remedy = "run it in the machine's cgroup namespace: docker run --cgroupns=host, or with its /sys/fs/cgroup mounted (-v /sys/fs/cgroup:/sys/fs/cgroup:ro)";
    vec![Limitation::new(What::Processes, why, remedy)]
}

/// The root of the hierarchy is the first node of its file system (kernfs_create_root(), fs/kernfs/dir.c, 5.10 to
/// 7.3).
fn is_whole(mount: &Path) -> bool {
    fs::metadata(mount).map_or(true, |root| root.ino() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn the_hierarchy_is_found_unified_or_beside_v1() {
        for (text, want) in [
            ("31 24 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n", Some("/sys/fs/cgroup")),
            (
                "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                Some("/sys/fs/cgroup/unified"),
            ),
            (
                "50 24 0:27 /docker/x /mnt/part rw - cgroup2 cgroup2 rw\n\
                 31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                Some("/sys/fs/cgroup"),
            ),
            (
                "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                 48 24 0:27 /../../system.slice /part rw - cgroup2 cgroup2 rw\n",
                Some("/sys/fs/cgroup"),
            ),
            ("33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", None),
        ] {
            for above in [false, true] {
                assert_eq!(v2_mount(text.as_bytes(), above).as_deref(), want.map(Path::new), "{text}");
            }
        }
        let both = b"31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            50 24 0:27 /../.. /host/cgroup rw - cgroup2 cgroup2 rw\n";
        let mounts = [false, true].map(|above| v2_mount(both, above));
        assert_eq!(mounts, [Some("/sys/fs/cgroup".into()), Some("/host/cgroup".into())]);
    }

    #[test]
    fn what_does_not_begin_at_the_root_is_a_part() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!([is_whole(dir.path()), is_whole(&dir.path().join("none"))], [false, true]);
    }

    #[test]
    fn paths_are_found_by_inode_and_remembered_after_removal() {
        let dir = tempfile::tempdir().unwrap();
        let scope = dir.path().join("system.slice/nginx.service");
        fs::create_dir_all(&scope).unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        let id = inode(&scope);
        let mut index = CgroupIndex::at(Some(dir.path().into()), 97);
        assert_eq!(index.path(inode(dir.path()), 0), Some("/"));
        fs::remove_dir(&scope).unwrap();
        assert_eq!(index.path(id, 1), Some("/system.slice/nginx.service"));
        assert_eq!(index.path(u64::MAX, u64::MAX), None);
        assert_eq!(index.path(id, u64::MAX), Some("/system.slice/nginx.service"));
        assert_eq!(index.path(inode(&dir.path().join("cgroup.procs")), u64::MAX), None);
    }

    #[test]
    fn a_new_cgroup_is_found_once_the_rest_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = CgroupIndex::at(Some(dir.path().into()), 97);
        let start = 7_000_000_000;
        assert_eq!(index.path(u64::MAX, start), None);
        let new = dir.path().join("new.scope");
        fs::create_dir(&new).unwrap();
        let (id, rest) = (inode(&new), REST_NS + REST_PER_DIR_NS);
        assert_eq!(index.path(id, start + rest - 1), None);
        assert_eq!(index.path(id, start + rest), Some("/new.scope"));
    }

    #[test]
    fn a_path_is_confirmed_only_for_its_own_id_and_never_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (mount, outside) = (dir.path().join("cg"), dir.path().join("outside"));
        fs::create_dir_all(mount.join("a.scope")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(mount.join("file"), "").unwrap();
        let mut index = CgroupIndex::at(Some(mount.clone()), 97);
        assert!(index.confirms("/a.scope", inode(&mount.join("a.scope"))));
        assert!(index.confirms("/", inode(&mount)));
        assert!(!index.confirms("/a.scope", inode(&mount)));
        assert!(!index.confirms("/../outside", inode(&outside)));
        assert!(!index.confirms("/file", inode(&mount.join("file"))));
        assert!(!index.confirms("a.scope", inode(&mount.join("a.scope"))));
        assert!(!index.confirms("/none", 7));
        assert!(!CgroupIndex::at(None, 97).confirms("/", inode(&mount)));
    }

    #[test]
    fn a_deep_nest_does_not_hide_what_is_near_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let deep: PathBuf = (0..53).map(|_| "d").collect();
        fs::create_dir_all(dir.path().join("a").join(&deep)).unwrap();
        fs::create_dir(dir.path().join("z")).unwrap();
        let found = walk(dir.path(), 7);
        assert_eq!(found.len(), 7);
        assert!(found.iter().any(|(_, path)| path == "/z"), "{found:?}");
        let mut index = CgroupIndex::at(Some(dir.path().into()), 7);
        assert_eq!(index.path(inode(&dir.path().join("z")), 0), Some("/z"));
    }
}
