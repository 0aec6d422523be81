//! Owns: which network namespaces can be reached from here.
//! Must not know: what is asked inside one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Netns, inode_in_link};
use crate::host::mountinfo;
use crate::model::ordering::Ordered as _;

/// Where `ip netns` keeps its bind mounts; a name there wins over a name elsewhere.
const RUN_NETNS: &str = "/run/netns";

/// What a look round found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Every namespace found, once; the asking thread's own first, the others by inode.
    pub namespaces: Vec<Netns>,
    /// Pids of processes whose namespace may not be read (that needs CAP_SYS_PTRACE): there may be more namespaces.
    pub hidden_processes: Vec<u32>,
}

/// Every network namespace that can be reached: the asking thread's own, each process's, and each that has a bind
/// mount visible here (`ip netns`, docker). Own first, then by inode.
///
/// Not found: one that is held only by an open file, by a single thread of a process, or by a socket.
pub fn discover() -> Vec<Netns> {
    survey().namespaces
}

/// [`discover`], with what stayed hidden.
pub fn survey() -> Survey {
    survey_in(Path::new("/proc"))
}

fn survey_in(proc_root: &Path) -> Survey {
    let mut found = BTreeMap::new();
    let own = proc_root.join("thread-self/ns/net");
    let own_inode = read_inode(&own).ok().flatten();
    if let Some(inode) = own_inode {
        found.insert(inode, Netns { inode, name: None, path: own });
    }
    add_mounts(proc_root, &mut found);
    let hidden_processes = add_processes(proc_root, &mut found);
    let mut namespaces: Vec<_> = found.into_values().collect();
    namespaces.order_by_key(|ns| (Some(ns.inode) != own_inode, ns.inode));
    Survey { namespaces, hidden_processes }
}

fn add_mounts(proc_root: &Path, found: &mut BTreeMap<u32, Netns>) {
    let mut mounts = mounted(proc_root);
    mounts.order_by_key(|(_, point)| !point.starts_with(RUN_NETNS));
    for (inode, path) in mounts {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // A path that is there already is the asking thread's own: it stays, since it needs no privilege.
        let known = found.entry(inode).or_insert(Netns { inode, name: None, path });
        known.name = known.name.take().or(name);
    }
}

/// Each bind mount of a network namespace: its inode and where it is mounted.
pub(super) fn mounted(proc_root: &Path) -> Vec<(u32, PathBuf)> {
    let text = fs::read(proc_root.join("thread-self/mountinfo")).unwrap_or_default();
    let mounts = mountinfo::parse(&text).into_iter().filter(|mount| mount.fstype == "nsfs");
    mounts.filter_map(|mount| Some((inode_in_link(Path::new(&mount.root))?, mount.point))).collect()
}

/// Adds each process's namespace that is not known yet and returns the pids of those that hide theirs. A process with a
/// lower pid mostly lives longer, so the lowest is the way in.
fn add_processes(proc_root: &Path, found: &mut BTreeMap<u32, Netns>) -> Vec<u32> {
    let entries = fs::read_dir(proc_root).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut hidden = Vec::new();
    for pid in pids {
        let path = proc_root.join(pid.to_string()).join("ns/net");
        match read_inode(&path) {
            Ok(Some(inode)) => {
                found.entry(inode).or_insert(Netns { inode, name: None, path });
            }
            Err(refused) if refused.kind() == io::ErrorKind::PermissionDenied => hidden.push(pid),
            // It exited meanwhile, or is a zombie or a kernel thread on its way out: those have no namespace.
            Ok(None) | Err(_) => {}
        }
    }
    hidden
}

fn read_inode(path: &Path) -> io::Result<Option<u32>> {
    fs::read_link(path).map(|link| inode_in_link(&link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn process(root: &Path, name: &str, link: &str) {
        fs::create_dir_all(root.join(name).join("ns")).unwrap();
        symlink(link, root.join(name).join("ns/net")).unwrap();
    }

    #[test]
    fn each_namespace_comes_once_with_the_best_way_in() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        process(root, "thread-self", "net:[4026531999]");
        let mounts = "\
1 1 0:4 net:[4026532111] /run/docker/netns/3f1c rw - nsfs nsfs rw
2 1 0:4 net:[4026532111] /run/netns/blue rw shared:1 - nsfs nsfs rw
3 1 0:4 net:[4026532111] /opt/again rw shared:1 - nsfs nsfs rw
4 1 0:4 net:[4026531999] /opt/other rw shared:1 - nsfs nsfs rw
4 1 0:4 net:[4026531999] /run/netns/mine rw shared:1 - nsfs nsfs rw
5 1 0:4 mnt:[4026532777] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
6 1 0:9 net:[4026532778] /run/netns/tmpfs rw - tmpfs tmpfs rw
";
        fs::write(root.join("thread-self/mountinfo"), mounts).unwrap();
        process(root, "1", "net:[4026531840]");
        process(root, "97", "net:[4026531840]");
        process(root, "1009", "net:[4026532111]");
        process(root, "211", "net:[4026532333]");
        process(root, "1013", "net:[4026532333]");
        process(root, "self", "net:[4026539999]");
        process(root, "1019", "gone");

        let survey = survey_in(root);
        let seen: Vec<_> = survey
            .namespaces
            .iter()
            .map(|ns| (ns.inode, ns.name.as_deref(), ns.path.strip_prefix(root).unwrap_or(&ns.path)))
            .collect();
        assert_eq!(
            seen,
            [
                (4_026_531_999, Some("mine"), Path::new("thread-self/ns/net")),
                (4_026_531_840, None, Path::new("1/ns/net")),
                (4_026_532_111, Some("blue"), Path::new("/run/netns/blue")),
                (4_026_532_333, None, Path::new("211/ns/net")),
            ]
        );
        assert!(survey.hidden_processes.is_empty());
    }

    #[test]
    fn own_namespace_is_found_here_first() {
        let found = discover();
        assert_eq!(found[0].inode, super::super::own_inode().unwrap());
        let mut inodes: Vec<_> = found.iter().map(|ns| ns.inode).collect();
        inodes.sort_unstable();
        inodes.dedup();
        assert_eq!(inodes.len(), found.len());
    }

    #[test]
    fn no_proc_no_namespaces() {
        assert_eq!(survey_in(Path::new("/nowhere")), Survey::default());
    }
}
