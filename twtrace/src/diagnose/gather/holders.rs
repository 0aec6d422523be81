//! Owns: which processes hold sockets, by the sockets' inodes, as `/proc/PID/fd` says.
//! Must not know: what the sockets are.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::diagnose::facts::Process;

/// The process that holds each of these sockets; of several, the one with the lowest pid, which mostly is the oldest.
pub(crate) fn find(inodes: &HashSet<u32>) -> HashMap<u32, Process> {
    // Other numbers for the same processes would make two of each.
    if !crate::host::identity::pids::are_the_kernels() {
        return HashMap::new();
    }
    find_in(Path::new("/proc"), inodes)
}

fn find_in(root: &Path, inodes: &HashSet<u32>) -> HashMap<u32, Process> {
    let mut found = HashMap::new();
    if inodes.is_empty() {
        return found;
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let dir = root.join(pid.to_string());
        let open = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
        let sockets = open.filter_map(|fd| socket_in(&fs::read_link(fd.path()).ok()?));
        let ours: Vec<u32> =
            sockets.filter(|inode| inodes.contains(inode) && !found.contains_key(inode)).collect();
        if ours.is_empty() {
            continue;
        }
        let comm = fs::read(dir.join("comm")).unwrap_or_default();
        let comm = String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned();
        let exe = fs::read_link(dir.join("exe")).ok().map(|exe| exe.to_string_lossy().into_owned());
        let start_ns = crate::host::identity::start_ns(&dir).unwrap_or(0);
        let (container, unit) = (None, crate::host::identity::service(&dir));
        let process = Process { pid: Some(pid), start_ns, comm, exe, container, unit };
        found.extend(ours.into_iter().map(|inode| (inode, process.clone())));
    }
    found
}

/// The number in `socket:[12345]`.
fn socket_in(link: &Path) -> Option<u32> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_oldest_holder_of_each_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for (pid, comm, fds) in [
            ("97", "old\n", &["socket:[1009]", "pipe:[7]"][..]),
            ("101", "young\x1b\n", &["socket:[1009]", "socket:[1013]"]),
            ("self", "me\n", &["socket:[1019]"]),
        ] {
            let fd = dir.path().join(pid).join("fd");
            fs::create_dir_all(&fd).unwrap();
            fs::write(dir.path().join(pid).join("comm"), comm).unwrap();
            let cgroup = if pid == "97" { "0::/system.slice/web.service\n" } else { "0::/user.slice\n" };
            fs::write(dir.path().join(pid).join("cgroup"), cgroup).unwrap();
            fds.iter().enumerate().for_each(|(at, link)| symlink(link, fd.join(at.to_string())).unwrap());
        }
        let found = find_in(dir.path(), &HashSet::from([1009, 1013, 1019, 7]));
        let mut names: Vec<_> = found
            .iter()
            .map(|(inode, who)| (*inode, who.comm.as_str(), who.pid, who.unit.as_deref()))
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [(1009, "old", Some(97), Some("web.service")), (1013, "young\x1b", Some(101), None)]
        );
        assert!(find_in(Path::new("/nowhere"), &HashSet::from([1])).is_empty());
    }
}
