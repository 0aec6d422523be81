//! Owns: what to say of a filter that nothing can pass, or nothing that there is now.
//! Must not know: how a filter is applied.

use std::time::Duration;

use crate::host::census::{self, Ports, Running};
use crate::host::{identity, net};
use crate::model::escape::printable;
use crate::model::filter::{Filter, Glob};

/// How long listing sockets may hold up the start, for the sake of a note.
const PATIENCE: Duration = Duration::from_millis(300);

/// Says on stderr which values match nothing on this machine as it is now. What comes later may match all the same.
pub(super) fn say_now(filter: &Filter) {
    say(of_itself(filter).chain(of_machine(filter)));
}

/// Says on stderr which values match nothing on this machine as it is now.
pub(super) fn say_here(filter: &Filter) {
    say(of_machine(filter).into_iter());
}

/// Says on stderr which values contradict each other.
pub(super) fn say_never(filter: &Filter) {
    say(of_itself(filter));
}

fn say(doubts: impl Iterator<Item = String>) {
    doubts.for_each(|doubt| crate::note!("twtrace: {}", printable(&doubt)));
}

/// Values that exclude each other, whatever happens.
fn of_itself(filter: &Filter) -> impl Iterator<Item = String> {
    let not = &filter.not;
    let mut both = Vec::new();
    let mut add =
        |flag: &str, value: String| both.push((format!("--{flag} {value}"), format!("--not-{flag} {value}")));
    filter.pids.iter().filter(|pid| not.pids.contains(pid)).for_each(|pid| add("pid", pid.to_string()));
    filter
        .comms
        .iter()
        .filter(|comm| not.comms.contains(comm))
        .for_each(|comm| add("comm", comm.to_string()));
    let is_unwanted = |path: &Glob| not.cgroups.iter().any(|cgroup| cgroup.path == *path);
    let paths = filter.cgroups.iter().map(|cgroup| &cgroup.path);
    paths.filter(|path| is_unwanted(path)).for_each(|path| add("cgroup", path.to_string()));
    filter
        .ports
        .iter()
        .filter(|port| not.ports.contains(port))
        .for_each(|port| add("port", port.to_string()));
    filter
        .peers
        .iter()
        .filter(|peer| not.peers.contains(peer))
        .for_each(|peer| add("peer", peer.to_string()));
    if let Some(family) = filter.family {
        let others = filter.peers.iter().filter(|net| net.addr().is_ipv4() != (family == 4));
        both.extend(others.map(|net| (format!("-{family}"), format!("--peer {net}"))));
    }
    both.into_iter().map(|(one, other)| format!("nothing can match {one} and {other}"))
}

fn of_machine(filter: &Filter) -> Vec<String> {
    let mut doubts = of_processes(filter);
    for cgroup in &filter.cgroups {
        if !identity::is_any_cgroup(|path| cgroup.path.matches(path)) {
            doubts.push(nothing("--cgroup", &cgroup.path, "there is no such cgroup (v2)"));
        }
    }
    if !filter.netns.is_empty() {
        let known = net::netns::discover();
        let is_known = |inode: &u32| known.iter().any(|netns| netns.inode == *inode);
        let unknown = filter.netns.iter().filter(|inode| !is_known(inode));
        doubts.extend(unknown.map(|inode| nothing("--netns", inode, "there is no such network namespace")));
    }
    let asks_for_port = !filter.sports.is_empty() || !filter.dports.is_empty() || !filter.ports.is_empty();
    if asks_for_port && let Some(ports) = census::ports(&filter.netns, PATIENCE) {
        doubts.extend(of_ports(filter, &ports));
    }
    doubts
}

fn nothing(flag: &str, value: impl std::fmt::Display, why: &str) -> String {
    format!("{flag} {value} matches nothing now: {why}")
}

fn of_processes(filter: &Filter) -> Vec<String> {
    let mut doubts = Vec::new();
    for pid in &filter.pids {
        match census::process_of(*pid) {
            Some(process) if process == *pid => {}
            Some(process) => {
                let why = format!("it is a thread of process {process}: use --pid {process}");
                doubts.push(nothing("--pid", pid, &why));
            }
            None => doubts.push(nothing("--pid", pid, "there is no such process")),
        }
    }
    if filter.comms.is_empty() && filter.uids.is_empty() {
        return doubts;
    }
    let running = census::processes();
    let runs = |is_it: &dyn Fn(&Running) -> bool| running.iter().any(is_it);
    let unknown = filter.comms.iter().filter(|comm| !runs(&|process| comm.matches_comm(process.comm)));
    doubts.extend(unknown.map(|comm| nothing("--comm", comm, "no process has such a name")));
    let unknown = filter.uids.iter().filter(|uid| !runs(&|process| process.uid == **uid));
    doubts.extend(unknown.map(|uid| nothing("--uid", uid, "no process of this user runs")));
    doubts
}

/// Who connects to a port of this machine is at its other end.
fn of_ports(filter: &Filter, ports: &Ports) -> Vec<String> {
    let (is_local, is_any) = (
        |port: &u16| ports.local.contains(port),
        |port: &u16| ports.local.contains(port) || ports.remote.contains(port),
    );
    let unused = |flag, list: &[u16], is_used: &dyn Fn(&u16) -> bool| {
        let unused = list.iter().filter(|port| !is_used(port));
        unused.map(|port| nothing(flag, port, "no TCP socket uses this port")).collect::<Vec<_>>()
    };
    let mut doubts = unused("--sport", &filter.sports, &is_local);
    doubts.extend(unused("--dport", &filter.dports, &is_any));
    doubts.extend(unused("--port", &filter.ports, &is_any));
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::{CgroupFilter, Unwanted};

    #[test]
    fn values_that_exclude_each_other_are_named() {
        let peers = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>();
        let filter = Filter {
            pids: vec![3, 5],
            comms: vec!["a*".into(), "b".into()],
            peers: peers(&["10.0.0.0/8", "::1/128"]),
            family: Some(4),
            not: Unwanted { pids: vec![5], comms: vec!["a*".into()], ..Unwanted::default() },
            ..Filter::default()
        };
        let said: Vec<String> = of_itself(&filter).collect();
        assert_eq!(
            said,
            [
                "nothing can match --pid 5 and --not-pid 5",
                "nothing can match --comm a* and --not-comm a*",
                "nothing can match -4 and --peer ::1/128",
            ]
        );
        assert_eq!(of_itself(&Filter::default()).count(), 0);
    }

    #[test]
    fn what_is_not_here_is_named_and_what_is_here_is_not() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (own, netns) = (std::process::id(), net::netns::own_inode().unwrap());
        let here = Filter {
            pids: vec![own],
            comms: vec!["*".into()],
            uids: vec![nix::unistd::getuid().as_raw()],
            netns: vec![netns],
            sports: vec![port],
            dports: vec![port],
            ..Filter::default()
        };
        assert_eq!(of_machine(&here), Vec::<String>::new());
        let elsewhere = Filter {
            pids: vec![u32::MAX],
            comms: vec!["no-such-\x1b*".into()],
            uids: vec![4_000_000_001],
            cgroups: vec![CgroupFilter { path: "/no/such*/cgroup".into(), leaf_id: None }],
            netns: vec![4_294_967_295],
            ..Filter::default()
        };
        let said = of_machine(&elsewhere);
        let flags = ["--pid", "--comm", "--uid", "--cgroup", "--netns"];
        assert_eq!(said.len(), flags.len(), "{said:?}");
        assert!(flags.iter().all(|flag| said.iter().any(|doubt| doubt.starts_with(flag))), "{said:?}");
        let ports = Ports { local: [80].into(), remote: [443].into() };
        let of = |sports: &[u16], dports: &[u16]| {
            of_ports(&Filter { sports: sports.into(), dports: dports.into(), ..Filter::default() }, &ports)
                .len()
        };
        assert_eq!((of(&[80, 443], &[]), of(&[], &[80, 443, 53])), (1, 1));
    }
}
