//! What passes, and what of it the kernel is told.

use std::sync::Arc;

use twtrace_common::config::Used;

use super::{CgroupFilter, Failures, Filter, FilteredProcess, Glob, Omissions, Unwanted, by_name};
use crate::model::event::{Comm, Conn, Errno, Event, Kind, Loss, Process, Reason, Role};
use crate::model::identity::Identity;

fn event(saddr: &str, daddr: &str) -> Event {
    let conn = Conn {
        netns: 71,
        ifindex: 0,
        saddr: saddr.parse().unwrap(),
        daddr: daddr.parse().unwrap(),
        sport: 41_009,
        dport: 443,
    };
    let mut event = Event::new(Kind::Created, 1, Some(conn));
    event.role = Role::Client;
    let comm = Comm::new("nginx");
    event.owner = Some(Process { pid: 101, tid: 103, uid: 33, cgroup_id: 7, start_ns: 9, comm });
    event
}

fn base() -> Event {
    event("192.0.2.1", "198.51.100.9")
}

/// A filter that passes `base`, and one of the same kind that does not.
fn pairs() -> Vec<(Filter, Filter)> {
    let f = Filter::default;
    let cgroup = |leaf_id| vec![CgroupFilter { path: "/a".into(), leaf_id }];
    vec![
        (Filter { pids: vec![5, 101], ..f() }, Filter { pids: vec![103], ..f() }),
        (Filter { comms: vec!["nginx".into()], ..f() }, Filter { comms: vec!["ngin".into()], ..f() }),
        (Filter { uids: vec![33], ..f() }, Filter { uids: vec![0], ..f() }),
        (Filter { cgroups: cgroup(Some(7)), ..f() }, Filter { cgroups: cgroup(Some(8)), ..f() }),
        (Filter { netns: vec![71], ..f() }, Filter { netns: vec![72], ..f() }),
        (Filter { sports: vec![41_009], ..f() }, Filter { sports: vec![443], ..f() }),
        (Filter { dports: vec![443], ..f() }, Filter { dports: vec![41_009], ..f() }),
        (Filter { ports: vec![443], ..f() }, Filter { ports: vec![80], ..f() }),
        (
            Filter { peers: vec!["198.51.100.0/24".parse().unwrap()], ..f() },
            Filter { peers: vec!["192.0.2.0/24".parse().unwrap()], ..f() },
        ),
        (Filter { family: Some(4), ..f() }, Filter { family: Some(6), ..f() }),
        (Filter { roles: vec![Role::Client], ..f() }, Filter { roles: vec![Role::Server], ..f() }),
    ]
}

#[test]
fn each_filter_passes_its_own_and_nothing_else() {
    for (passes, stops) in pairs() {
        assert!(passes.passes(&base()), "{passes:?}");
        assert!(!stops.passes(&base()), "{stops:?}");
    }
}

#[test]
fn failures_for_other_reasons_than_ports_pass_unless_those_alone_are_asked_for() {
    let with = |failures| Filter { failures: Some(failures), ..Filter::default() };
    let (all, of_ports) = (with(Failures::All), with(Failures::Ports));
    for (kind, errno, is_of_ports) in [
        (Kind::ConnectFailed, Errno::AddrNotAvail, true),
        (Kind::ConnectFailed, Errno::AddrInUse, true),
        (Kind::ConnectFailed, Errno::ConnRefused, false),
        (Kind::ConnectFailed, Errno::TimedOut, false),
        (Kind::BindFailed, Errno::Acces, false),
    ] {
        let mut event = base();
        (event.kind, event.errno) = (kind, Some(errno));
        assert_eq!(of_ports.passes(&event), is_of_ports, "{errno}");
        assert!(all.passes(&event) && Filter::default().passes(&event), "{errno}");
    }
    assert!(all.only_netns() && !all.is_empty());
    assert_eq!(
        (all.words(), of_ports.words()),
        (vec!["--failures all".into()], vec!["--failures ports".into()])
    );
}

#[test]
fn filters_of_different_kinds_must_all_match() {
    let both = Filter { pids: vec![101], dports: vec![80], ..Filter::default() };
    assert!(!both.passes(&base()));
}

#[test]
fn an_unknown_owner_passes_no_filter_on_the_owner() {
    let mut unowned = base();
    unowned.owner = None;
    assert!(!Filter { uids: vec![0, 33], ..Filter::default() }.passes(&unowned));
    assert!(Filter { dports: vec![443], ..Filter::default() }.passes(&unowned));
}

#[test]
fn a_reason_is_asked_of_ends_only() {
    let filter = Filter { reasons: vec![Reason::Reset], ..Filter::default() };
    assert!(!filter.passes(&base()));
    let mut end = base();
    end.kind = Kind::Ended;
    end.reason = Some(Reason::Reset);
    assert!(filter.passes(&end));
}

#[test]
fn a_loss_passes_every_filter() {
    let mut lost = Event::new(Kind::Lost, 1, None);
    lost.loss = Some(Box::new(Loss { created: 3, ..Loss::default() }));
    assert!(pairs().iter().all(|(_, stops)| stops.passes(&lost)));
}

#[test]
fn a_cgroup_is_itself_and_what_is_below() {
    let filter =
        Filter { cgroups: vec![CgroupFilter { path: "/a/b".into(), leaf_id: None }], ..Filter::default() };
    for (path, passes) in [("/a/b", true), ("/a/b/c", true), ("/a/bc", false), ("/a", false)] {
        let mut event = base();
        event.identity = Some(Arc::new(Identity { cgroup: Some(path.to_owned()), ..Identity::default() }));
        assert_eq!(filter.passes(&event), passes, "{path}");
    }
    assert!(CgroupFilter { path: "/".into(), leaf_id: None }.is_above("/x"));
}

#[test]
fn what_is_not_wanted_does_not_pass_whatever_else_is_wanted() {
    let not = Unwanted::default;
    let cgroup = |path: &str, leaf_id| vec![CgroupFilter { path: path.into(), leaf_id }];
    for (passes, stops) in [
        (Unwanted { pids: vec![5], ..not() }, Unwanted { pids: vec![5, 101], ..not() }),
        (Unwanted { comms: vec!["ngin".into()], ..not() }, Unwanted { comms: vec!["n*x".into()], ..not() }),
        (Unwanted { ports: vec![80], ..not() }, Unwanted { ports: vec![80, 443], ..not() }),
        (
            Unwanted { peers: vec!["192.0.2.0/24".parse().unwrap()], ..not() },
            Unwanted { peers: vec!["198.51.100.9/32".parse().unwrap()], ..not() },
        ),
    ] {
        let wanting = |not| Filter { uids: vec![33], not, ..Filter::default() };
        assert!(wanting(passes.clone()).passes(&base()), "{passes:?}");
        assert!(!wanting(stops.clone()).passes(&base()), "{stops:?}");
        let of_owner = stops.ports.is_empty() && stops.peers.is_empty();
        assert_eq!(Filter { not: stops, ..Filter::default() }.only_conn(), !of_owner);
    }
    // In which cgroup it was nobody knows: it may be that one, or one that came later in its place.
    for id in [None, Some(5), Some(7)] {
        let unknown = Filter { not: Unwanted { cgroups: cgroup("/a", id), ..not() }, ..Filter::default() };
        assert!(!unknown.passes(&base()), "{id:?}");
    }
    let mut unowned = base();
    unowned.owner = None;
    let filter = Filter { not: Unwanted { pids: vec![5], ..not() }, ..Filter::default() };
    assert!(!filter.passes(&unowned) && filter.passes(&base()));
}

#[test]
fn a_cgroup_that_comes_again_is_told_by_its_path() {
    let cgroup = || vec![CgroupFilter { path: "/a/b".into(), leaf_id: Some(7) }];
    let only = Filter { cgroups: cgroup(), ..Filter::default() };
    let not = Filter { not: Unwanted { cgroups: cgroup(), ..Unwanted::default() }, ..Filter::default() };
    for (id, path, is_there) in [
        (7, "/a/b", true),
        (11, "/a/b", true),
        (11, "/a/b/c", true),
        (11, "/a/bc", false),
        // What has its id is it, whatever its path is seen as.
        (7, "/", true),
    ] {
        let mut event = base();
        event.owner.as_mut().unwrap().cgroup_id = id;
        event.identity = Some(Arc::new(Identity { cgroup: Some(path.to_owned()), ..Identity::default() }));
        assert_eq!((only.passes(&event), only.leaves_out(id, path)), (is_there, !is_there), "{id} {path}");
        assert_eq!((not.passes(&event), not.leaves_out(id, path)), (!is_there, is_there), "{id} {path}");
    }
    assert!(!Filter::default().leaves_out(7, "/a"));
    assert!(only.kernel().track_live && not.kernel().by_cgroup() && !Filter::default().kernel().by_cgroup());
}

#[test]
fn a_pattern_of_cgroups_is_those_and_what_is_below() {
    let filter = CgroupFilter { path: "/system.slice/*.service".into(), leaf_id: None };
    for (path, is_above) in [
        ("/system.slice/nginx.service", true),
        ("/system.slice/nginx.service/worker", true),
        ("/system.slice", false),
        ("/system.slice/docker.scope", false),
    ] {
        assert_eq!(filter.is_above(path), is_above, "{path}");
    }
}

#[test]
fn the_kernel_gets_what_fits_and_remembers_the_living_for_owners() {
    let used = |wanted, unwanted| Used::new(wanted, unwanted);
    let kernel = Filter { pids: vec![3, 5], sports: vec![80], ..Filter::default() }.kernel();
    assert_eq!((kernel.wire.n_pids, &kernel.wire.pids[..2]), (used(2, 0), &[3, 5][..]));
    assert_eq!(kernel.wire.n_sports, used(1, 0));
    assert!(kernel.track_live);
    assert!(!Filter { sports: vec![80], ..Filter::default() }.kernel().track_live);
    // Nine values do not fit: none of them is sent, and user space decides.
    let long = Filter { pids: (1..=9).collect(), ..Filter::default() }.kernel();
    assert_eq!((long.wire.n_pids, long.track_live), (used(0, 0), false));
    let roles = Filter { roles: vec![Role::Client, Role::Server], ..Filter::default() }.kernel();
    assert_eq!((roles.wire.roles, roles.track_live), (0b110, false));
    // A list may tell `server` of a socket that was there before, and then its end is wanted; `client` it never tells.
    let track_live = |role| Filter { roles: vec![role], ..Filter::default() }.kernel().track_live;
    assert_eq!([Role::Client, Role::Server, Role::Unknown].map(track_live), [true, false, false]);
}

#[test]
fn what_is_not_wanted_goes_behind_and_never_says_more_than_it_should() {
    let globs = |names: &[&str]| names.iter().map(|name| Glob::from(*name)).collect::<Vec<_>>();
    let not = Unwanted { comms: globs(&["a", "b?c", "d*"]), pids: (1..=9).collect(), ..Unwanted::default() };
    let wire = Filter { comms: globs(&["x*y", "?"]), not: not.clone(), ..Filter::default() }.kernel().wire;
    // `b?c` would leave out `bxc`, but `bxxc` as well.
    assert_eq!((wire.n_comms, wire.tails, wire.n_pids), (Used::new(2, 2), 1, Used::new(0, 8)));
    let kernel = Filter { comms: globs(&["x"; 9]), not, ..Filter::default() }.kernel();
    assert_eq!((kernel.wire.n_comms, kernel.wire.tails, kernel.track_live), (Used::new(0, 2), 0, true));
}

#[test]
fn networks_reach_the_kernel_mapped_and_masked() {
    use twtrace_common::wire::bytes_of_words;
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>();
    let not = Unwanted { peers: nets(&["::/64", "2001:db8::/33"]), ..Unwanted::default() };
    let wire = Filter { peers: nets(&["10.1.0.0/16"]), not, ..Filter::default() }.kernel().wire;
    // There, `::/64` has all of IPv4 in it.
    assert_eq!(wire.n_peers, Used::new(1, 1));
    let bytes = |at: usize| (bytes_of_words(wire.peers[at].address), bytes_of_words(wire.peers[at].mask));
    let (peer, mask) = bytes(0);
    assert_eq!((&peer[10..], &mask[12..]), (&[0xff, 0xff, 10, 1, 0, 0][..], &[0xff, 0xff, 0, 0][..]));
    let (peer, mask) = bytes(1);
    assert_eq!(
        (&peer[..5], &mask[..6]),
        (&[0x20, 1, 0xd, 0xb8, 0][..], &[0xff, 0xff, 0xff, 0xff, 0x80, 0][..])
    );
}

#[test]
fn the_words_of_a_filter_are_the_flags_that_ask_for_it() {
    let filter = Filter {
        pids: vec![7, 11],
        comms: vec!["a b".into()],
        netns: vec![4_026_531_840],
        peers: vec!["10.0.0.0/8".parse().unwrap()],
        family: Some(6),
        roles: vec![Role::Client],
        reasons: vec![Reason::Expired],
        cgroups: vec![CgroupFilter { path: "/x".into(), leaf_id: None }],
        not: Unwanted { comms: vec!["c*".into()], ports: vec![53], ..Unwanted::default() },
        ..Filter::default()
    };
    let want = [
        "--pid 7",
        "--pid 11",
        "--comm a b",
        "--cgroup /x",
        "--netns 4026531840",
        "--peer 10.0.0.0/8",
        "-6",
        "--role client",
        "--reason expired",
        "--not-comm c*",
        "--not-port 53",
    ];
    assert_eq!(filter.words(), want);
    assert!(Filter::default().words().is_empty());
}

#[test]
fn flags_that_leave_out_owners_are_told_from_those_that_pick_pools() {
    let of = |words: &[&str]| Omissions::of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(&["--netns 7", "--failures all"]), Omissions::default());
    let pools = of(&["--netns 7", "--dport 80", "--peer 10.0.0.0/8", "-4", "--port 443"]);
    assert_eq!((pools.flags.len(), pools.of_owners.len(), pools.hides_sockets), (4, 0, false));
    let role = of(&["--role client"]);
    assert_eq!((role.of_owners.len(), role.hides_sockets), (0, true));
    let owners = of(&["--dport 80", "--comm a", "--not-pid 7", "--only-command"]);
    assert_eq!(owners.of_owners, ["--comm a", "--not-pid 7", "--only-command"]);
    assert!(owners.hides_sockets && owners.flags.len() == 4);
}

#[test]
fn of_a_process_is_said_what_is_known() {
    let who = |uid, cgroup| FilteredProcess { pid: 7, comm: "php-fpm7.4", uid, cgroup };
    let filter = |uids: &[u32], paths: &[&str], not: &[&str]| {
        let cgroups = |paths: &[&str]| {
            paths.iter().map(|path| CgroupFilter { path: Glob::from(*path), leaf_id: None }).collect()
        };
        let not = Unwanted { cgroups: cgroups(not), ..Unwanted::default() };
        Filter {
            comms: vec!["php*".into()],
            uids: uids.to_vec(),
            cgroups: cgroups(paths),
            not,
            ..Filter::default()
        }
    };
    assert_eq!(filter(&[], &[], &[]).wants(who(None, None)), Some(true));
    assert_eq!(filter(&[33], &[], &[]).wants(who(Some(33), None)), Some(true));
    assert_eq!(filter(&[33], &[], &[]).wants(who(Some(0), None)), Some(false));
    assert_eq!(filter(&[33], &[], &[]).wants(who(None, None)), None);
    assert_eq!(filter(&[33], &["/a"], &[]).wants(who(None, Some("/b/a"))), Some(false));
    assert_eq!(filter(&[], &["/a"], &[]).wants(who(None, Some("/a/b"))), Some(true));
    assert_eq!(filter(&[], &[], &["/a"]).wants(who(None, Some("/a/b"))), Some(false));
    assert_eq!(filter(&[], &[], &["/a"]).wants(who(None, None)), None);
    assert_eq!(Filter { pids: vec![9], ..Filter::default() }.wants(who(None, None)), Some(false));
}

#[test]
fn namespaces_are_called_what_they_are_and_each_flag_stands_once() {
    let filter = Filter { netns: vec![17, 19, 23, 29], dports: vec![17], ..Filter::default() };
    let name =
        |inode: u32| [(17, "blue"), (23, "red"), (29, "blue")].into_iter().find(|(of, _)| *of == inode);
    let said = by_name(filter.words(), |inode| name(inode).map(|(_, name)| name.to_owned()));
    assert_eq!(said, ["--netns blue", "--netns 19", "--netns red", "--dport 17"]);
}

#[test]
fn every_field_makes_it_a_filter() {
    let glob = || vec![Glob::from("a")];
    let cgroups = || vec![CgroupFilter { path: Glob::from("/a"), leaf_id: None }];
    let peers = || vec!["10.0.0.0/8".parse().unwrap()];
    let not = |not: Unwanted| Filter { not, ..Filter::default() };
    let all = [
        Filter { pids: vec![7], ..Filter::default() },
        Filter { comms: glob(), ..Filter::default() },
        Filter { uids: vec![7], ..Filter::default() },
        Filter { cgroups: cgroups(), ..Filter::default() },
        Filter { netns: vec![7], ..Filter::default() },
        Filter { sports: vec![7], ..Filter::default() },
        Filter { dports: vec![7], ..Filter::default() },
        Filter { ports: vec![7], ..Filter::default() },
        Filter { peers: peers(), ..Filter::default() },
        Filter { family: Some(6), ..Filter::default() },
        Filter { roles: vec![Role::Client], ..Filter::default() },
        Filter { reasons: vec![Reason::Expired], ..Filter::default() },
        Filter { failures: Some(Failures::All), ..Filter::default() },
        not(Unwanted { pids: vec![7], ..Unwanted::default() }),
        not(Unwanted { comms: glob(), ..Unwanted::default() }),
        not(Unwanted { cgroups: cgroups(), ..Unwanted::default() }),
        not(Unwanted { ports: vec![7], ..Unwanted::default() }),
        not(Unwanted { peers: peers(), ..Unwanted::default() }),
    ];
    for filter in all {
        assert!(!filter.is_empty(), "{filter:?}");
        assert_eq!(filter.words().len(), 1, "{filter:?}");
    }
    assert!(Filter::default().is_empty());
}
