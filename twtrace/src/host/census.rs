//! Owns: what there is on this machine at a moment: processes by pid, name and user, and ports of TCP sockets.
//! Must not know: who asks, and what for.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::identity::{name_of, status_number};
use super::net::books;
use super::net::netns::discover;
use super::net::sockdiag::{self, States};
use crate::model::event::Comm;

/// A process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub comm: Comm,
    /// Its real user id.
    pub uid: u32,
}

/// All processes that `/proc` shows; kernel threads are among them.
pub fn processes() -> Vec<Running> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let dir = Path::new("/proc").join(pid.to_string());
        Some(Running { pid, comm: name_of(&dir)?, uid: status_number(&dir, "Uid:")? })
    })
    .collect()
}

/// The process that `tid` is a thread of; itself, where it is a process. `None` where there is no such thread.
pub fn process_of(tid: u32) -> Option<u32> {
    status_number(&Path::new("/proc").join(tid.to_string()), "Tgid:")
}

/// Ports of TCP sockets, in whatever state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Of this end.
    pub local: HashSet<u16>,
    /// Of the other end.
    pub remote: HashSet<u16>,
}

/// Ports in use in these network namespaces, in all that can be reached where `only` is empty. `None` where not all of them could be
/// listed within `patience`.
pub fn ports(only: &[u32], patience: Duration) -> Option<Ports> {
    let began = Instant::now();
    let mut all = discover();
    all.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    let mut ports = Ports::default();
    for (netns, (_, sockets)) in all.iter().zip(books::sockets(&all).ok()?) {
        // A list walks the machine's whole table: not for nothing.
        if sockets.ok()? == 0 {
            continue;
        }
        if began.elapsed() >= patience {
            return None;
        }
        for socket in sockdiag::tcp(netns, States::ALL).ok()?.sockets {
            ports.local.insert(socket.sport);
            ports.remote.insert(socket.dport);
        }
    }
    Some(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_its_sockets_are_found() {
        let own = std::process::id();
        let found = processes().into_iter().find(|process| process.pid == own).unwrap();
        assert_eq!(found.uid, nix::unistd::getuid().as_raw());
        let tid = nix::unistd::gettid().as_raw().unsigned_abs();
        assert_eq!((process_of(tid), process_of(own), process_of(u32::MAX)), (Some(own), Some(own), None));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let netns = crate::host::net::netns::own_inode().unwrap();
        assert!(ports(&[netns], Duration::from_secs(30)).unwrap().local.contains(&port));
        assert_eq!(ports(&[netns], Duration::ZERO), None);
    }
}
