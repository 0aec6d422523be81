//! Owns: which processes hold sockets, by the sockets' inodes, as `/proc/PID/fd` says.
//! Must not know: what the sockets are.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::diagnose::facts::Process;
use crate::host::identity::{cgroup_and_service, status_number};

/// The process that holds each of these sockets; of several, the one that started first: a server whose workers share its socket, and not
/// a child that has not let go of it yet. Their pids would not tell: they begin anew at `kernel.pid_max`.
pub(crate) fn find(inodes: &HashSet<u32>) -> HashMap<u32, Process> {
    // Other numbers for the same processes would make two of each.
    if !crate::host::identity::pids::are_the_kernels() {
        return HashMap::new();
    }
    find_in(Path::new("/proc"), inodes)
}

fn find_in(root: &Path, inodes: &HashSet<u32>) -> HashMap<u32, Process> {
    let mut first: HashMap<u32, (u64, u32)> = HashMap::new();
    if inodes.is_empty() {
        return HashMap::new();
    }
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let dir = entry.path();
        let open = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
        let sockets = open.filter_map(|fd| socket_in(&fs::read_link(fd.path()).ok()?));
        let held: Vec<u32> = sockets.filter(|inode| inodes.contains(inode)).collect();
        if held.is_empty() {
            continue;
        }
        // One that ended meanwhile holds nothing.
        let Some(start_ns) = crate::host::identity::start_ns(&dir) else { continue };
        for inode in held {
            let one = first.entry(inode).or_insert((start_ns, pid));
            *one = (*one).min((start_ns, pid));
        }
    }
    let holders: HashSet<(u64, u32)> = first.values().copied().collect();
    let known: HashMap<(u64, u32), Process> =
        holders.into_iter().map(|who| (who, process(root, who))).collect();
    first.into_iter().map(|(inode, who)| (inode, known[&who].clone())).collect()
}

/// What a process of this start and pid is, as far as it can still be read.
fn process(root: &Path, (start_ns, pid): (u64, u32)) -> Process {
    let dir = root.join(pid.to_string());
    let comm = fs::read(dir.join("comm")).unwrap_or_default();
    let comm = String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned();
    let exe = fs::read_link(dir.join("exe")).ok().map(|exe| exe.to_string_lossy().into_owned());
    let (uid, (cgroup, unit)) = (status_number(&dir, "Uid:"), cgroup_and_service(&dir));
    Process { pid: Some(pid), start_ns, uid, cgroup, comm, exe, container: None, unit }
}

/// The number in `socket:[12345]`.
fn socket_in(link: &Path) -> Option<u32> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A process of a made /proc.
    fn put(root: &Path, pid: u32, comm: &str, started: u32, fds: &[&str]) {
        let dir = root.join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        fs::write(dir.join("comm"), comm).unwrap();
        let fields = "0 ".repeat(18);
        fs::write(dir.join("stat"), format!("{pid} ({}) S {fields}{started} 0 0\n", comm.trim_end()))
            .unwrap();
        fs::write(dir.join("status"), format!("Name:\tx\nUid:\t{pid}\t0\t0\t0\n")).unwrap();
        let cgroup = if comm == "old\n" { "0::/system.slice/web.service\n" } else { "0::/user.slice\n" };
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        fds.iter()
            .enumerate()
            .for_each(|(at, link)| symlink(link, dir.join("fd").join(at.to_string())).unwrap());
    }

    #[test]
    fn the_oldest_holder_of_each_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 97, "child\n", 1021, &["socket:[1009]"]);
        put(dir.path(), 101, "old\n", 1013, &["socket:[1009]", "pipe:[7]"]);
        put(dir.path(), 103, "young\x1b\n", 1019, &["socket:[1009]", "socket:[1013]"]);
        // It ended while it was looked at.
        put(dir.path(), 107, "gone\n", 1, &["socket:[1013]"]);
        fs::remove_file(dir.path().join("107/stat")).unwrap();
        fs::create_dir_all(dir.path().join("self/fd")).unwrap();
        symlink("socket:[1019]", dir.path().join("self/fd/0")).unwrap();
        let found = find_in(dir.path(), &HashSet::from([1009, 1013, 1019, 7]));
        let mut names: Vec<_> = found
            .iter()
            .map(|(inode, who)| (*inode, who.comm.as_str(), who.pid, who.unit.as_deref()))
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [(1009, "old", Some(101), Some("web.service")), (1013, "young\x1b", Some(103), None)]
        );
        let old = &found[&1009];
        assert_eq!((old.uid, old.cgroup.as_deref()), (Some(101), Some("/system.slice/web.service")));
        assert!(find_in(Path::new("/nowhere"), &HashSet::from([1])).is_empty());
    }
}
