//! Owns: what is said of ports that are taken, and of calls that fail for another reason than ports.
//! Must not know: how facts are come by.

use std::net::IpAddr;

use super::samples::calm;
use super::{expect_effect, facts, found, full, ids, netns, only, refused, share, with_tuple};
use crate::diagnose::facts::*;
use crate::diagnose::finding::{Finding, Severity};
use crate::model::event::Errno;

#[test]
fn a_server_that_cannot_bind_is_told_by_who_is_on_the_port() {
    let bind =
        BindFailure { port: 8080, failed: 7, caller: share(97, "app").process, ..BindFailure::default() };
    let with = |listening, time_wait, open| {
        let shares = vec![share(101, "nginx")];
        let served = Served { port: 8080, listening, time_wait, open, shares, ..Served::default() };
        ids(&facts(Netns { binds: vec![bind.clone()], served: vec![served], ..netns() }))
    };
    assert_eq!(with(false, 17, 0), ["server_cannot_bind"]);
    assert_eq!(with(false, 0, 3), ["server_cannot_bind"]);
    assert_eq!(with(true, 17, 3), ["port_in_use"]);
    assert_eq!(with(false, 0, 0), ["not_explained"]);
}

#[test]
fn a_taken_tuple_is_not_an_exhausted_pool() {
    let taken = Tuple { failed_bound: 5, taken: 5, ..calm() };
    let finding = only(&with_tuple(taken.clone()));
    assert_eq!(finding.id, "tuple_taken");
    expect_effect(&finding, "unbound_port", "ports left", (0.0, 960.0));
    // Nobody saw such a connection: then that is not the reason.
    assert_eq!(ids(&with_tuple(Tuple { taken: 0, ..taken })), ["not_explained"]);
    let both = Tuple { failed_bound: 5, taken: 5, ..full(Ports { time_wait: 1000, ..Ports::default() }, 13) };
    assert_eq!(ids(&with_tuple(both)), ["ports_exhausted"]);
}

fn bind(port: u16, failed: u64, pid: u32, comm: &str) -> BindFailure {
    BindFailure { port, failed, caller: share(pid, comm).process, ..BindFailure::default() }
}

fn outgoing(pid: Option<u32>, comm: &str, is_bound: Option<bool>) -> Outgoing {
    let process = pid.map(|pid| share(pid, comm).process).unwrap_or_default();
    let daddr = IpAddr::from([10, 0, 0, 9]);
    Outgoing { process, daddr, dport: 9000, is_client: true, is_bound, left_ms: 53_000 }
}

fn on(port: u16, outgoing: Vec<Outgoing>) -> Served {
    Served { port, time_wait: outgoing.len() as u64, left_ms: Some(53_000), outgoing, ..Served::default() }
}

#[test]
fn a_port_of_an_outgoing_connection_is_told_with_who_had_it_and_for_how_long_yet() {
    let binds = [40_001, 40_003, 40_007].map(|port| bind(port, 3, 7, "relay")).to_vec();
    let served =
        [40_001, 40_003, 40_007].map(|port| on(port, vec![outgoing(Some(5), "curl", None)])).to_vec();
    let mut tracker = Netns { binds, served, ..netns() };
    tracker.settings.reserved = vec![(40_500, 40_509)];
    let finding = only(&facts(tracker.clone()));
    assert_eq!((finding.id, finding.severity), ("ephemeral_port_taken", Severity::Critical));
    assert!(finding.what.contains("by curl (pid 5), the last for 53 s more"), "{}", finding.what);
    assert_eq!((finding.who[0].process.comm.as_str(), finding.who[0].time_wait), ("curl", 3));
    assert_eq!((finding.who[1].process.comm.as_str(), finding.who[1].failed), ("relay", 9));
    let command = finding.remedies[0].command.as_deref();
    let want = r#"sysctl -w net.ipv4.ip_local_reserved_ports="40500-40509,40001,40003,40007""#;
    assert_eq!(command, Some(want));
    assert!(refused(&finding, "server_reuseaddr"));
    assert!(finding.remedies.iter().all(|remedy| remedy.id != "reuseaddr"));
    // Who asked for them by number is not kept from it by a list for connect().
    let mut bound = tracker.clone();
    bound.served.iter_mut().for_each(|served| served.outgoing[0].is_bound = Some(true));
    let finding = only(&facts(bound));
    assert!(finding.what.contains("bind() asked for the port"), "{}", finding.what);
    assert_eq!(finding.remedies.iter().map(|remedy| remedy.id).collect::<Vec<_>>(), ["other_port"]);
    let low = Netns {
        binds: vec![bind(631, 3, 7, "cupsd")],
        served: vec![on(631, vec![outgoing(Some(5), "mount.nfs", None)])],
        ..netns()
    };
    assert!(only(&facts(low)).what.contains("bind() asked for the port"));
    // What came in on the port is no process's that twtrace did not see, where there is no list.
    let mut without = tracker.clone();
    without.served[0].left_ms = None;
    without.served[0].time_wait = 3;
    let finding = only(&facts(without));
    assert!(!finding.what.contains("did not see"), "{}", finding.what);
    assert_eq!(finding.who[0].time_wait, 3);
    // Of a process that is gone, no other is blamed.
    tracker.served[0].outgoing = vec![outgoing(None, "", None)];
    let what = only(&facts(tracker)).what;
    assert!(what.contains("curl (pid 5) (2), and a process that twtrace did not see (1)"), "{what}");
}

#[test]
fn who_comes_back_to_his_own_ports_is_told_once() {
    let ports = 1000..1024;
    let binds = ports.clone().map(|port| bind(port, 1, 7, "mount.nfs")).collect();
    let served = ports.map(|port| on(port, vec![outgoing(Some(7), "mount.nfs", None)])).collect();
    let finding = only(&facts(Netns { binds, served, ..netns() }));
    assert_eq!((finding.id, finding.severity), ("own_ports_taken", Severity::Critical));
    assert!(finding.what.contains("24 ports (1000 to 1023)"), "{}", finding.what);
    assert_eq!((finding.who[0].time_wait, finding.who[0].failed), (24, 24));
    expect_effect(&finding, "unbound_port", "ports to choose from", (24.0, 1000.0));
    // Each of its processes is told with what it had itself, and nobody with what others had.
    let binds = vec![bind(1000, 3, 7, "mount.nfs"), bind(1001, 1, 9, "mount.nfs")];
    let had = |pid, comm| outgoing(Some(pid), comm, None);
    let served = vec![
        on(1000, vec![had(9, "mount.nfs"), had(11, "mount.nfs"), had(13, "rpcbind")]),
        on(1001, vec![had(9, "mount.nfs")]),
    ];
    let finding = only(&facts(Netns { binds, served, ..netns() }));
    let told: Vec<_> =
        finding.who.iter().map(|share| (share.process.pid, share.time_wait, share.failed)).collect();
    assert_eq!(told, [(Some(7), 0, 3), (Some(9), 2, 1), (Some(11), 1, 0)]);
    assert!(finding.what.contains(": 3 of them in TIME_WAIT"), "{}", finding.what);
    assert!(finding.what.ends_with(" Also there: 1 other TIME_WAIT socket."), "{}", finding.what);
    // How long they are there is said of its own connections, whatever others have there, and for how long.
    let others = Outgoing { left_ms: 59_001, ..had(13, "rpcbind") };
    let taken = Served {
        open: 2,
        left_ms: Some(59_500),
        ..on(1000, vec![Outgoing { left_ms: 41_001, ..had(7, "mount.nfs") }, others])
    };
    let finding =
        only(&facts(Netns { binds: vec![bind(1000, 3, 7, "mount.nfs")], served: vec![taken], ..netns() }));
    assert!(finding.what.contains("the last for 42 s more"), "{}", finding.what);
    assert!(
        finding.what.ends_with(" Also there: 1 other TIME_WAIT socket and 2 open sockets."),
        "{}",
        finding.what
    );
    // Without a list nobody knows what is open there; what came in is told by events, and is none of those that went out.
    let told = Served { left_ms: None, time_wait: 3, ..on(1000, vec![had(7, "mount.nfs")]) };
    let finding =
        only(&facts(Netns { binds: vec![bind(1000, 3, 7, "mount.nfs")], served: vec![told], ..netns() }));
    assert!(finding.what.ends_with(" Also there: 3 other TIME_WAIT sockets."), "{}", finding.what);
    let open = finding.evidence.iter().find(|evidence| evidence.what == "open sockets on these ports");
    assert_eq!(open.map(|open| open.value.to_string()).as_deref(), Some("unknown"));
    // Chosen by connect(), even by the same program, it is chance.
    let chance = on(40_001, vec![outgoing(Some(7), "app", Some(false))]);
    let tracker = Netns { binds: vec![bind(40_001, 1, 7, "app")], served: vec![chance], ..netns() };
    assert_eq!(only(&facts(tracker)).id, "ephemeral_port_taken");
}

#[test]
fn what_a_server_had_is_told_with_the_seconds_left_and_without_guesses() {
    let shares = vec![Share { time_wait: 17, ..share(5, "old") }];
    let served = Served { time_wait: 17, left_ms: Some(41_001), shares, ..on(8080, Vec::new()) };
    let finding =
        only(&facts(Netns { binds: vec![bind(8080, 7, 9, "new")], served: vec![served.clone()], ..netns() }));
    assert!(
        finding.what.contains("the last of them for 42 s more when it failed, of old (pid 5)"),
        "{}",
        finding.what
    );
    assert!(finding.what.contains("was not looked at"), "{}", finding.what);
    expect_effect(&finding, "reuseaddr", "the port can be bound after", (42.0, 0.0));
    // Where it was looked at, that is said; and what is set need not be set.
    let with = |reuseaddr, no_reuseaddr| {
        let bind = BindFailure { reuseaddr, no_reuseaddr, ..bind(8080, 7, 9, "new") };
        only(&facts(Netns { binds: vec![bind], served: vec![served.clone()], ..netns() }))
    };
    let unset = with(0, 7);
    assert!(unset.what.contains("SO_REUSEADDR was not set on the socket that failed"), "{}", unset.what);
    expect_effect(&unset, "reuseaddr", "the port can be bound after", (42.0, 0.0));
    let set = with(7, 0);
    assert!(set.what.contains("SO_REUSEADDR was set on the socket that failed"), "{}", set.what);
    assert!(set.remedies.iter().all(|remedy| remedy.effects.is_empty()), "{:?}", set.remedies);
    assert!(with(5, 2).what.contains("was set in 5 of 7 calls"), "{}", with(5, 2).what);
    assert!(with(0, 3).what.contains("was not looked at"), "of four nothing is known");
}

#[test]
fn several_programs_that_want_one_port_are_one_finding() {
    let shares = vec![Share { time_wait: 17, ..share(5, "old") }];
    let served = |port| Served {
        time_wait: 17,
        left_ms: Some(41_001),
        shares: shares.clone(),
        ..on(port, Vec::new())
    };
    let binds = vec![bind(8080, 2, 9, "nginx"), bind(8080, 3, 11, "apache2"), bind(9090, 5, 13, "relay")];
    let served = vec![served(8080), served(9090)];
    let all = found(&facts(Netns { binds, served, ..netns() }));
    let told: Vec<&str> = all.iter().map(|finding| finding.what.split(':').next().unwrap()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|what| what.contains("and 1 more cannot bind port 8080 (5 times)")), "{told:?}");
    assert!(
        told.iter().any(|what| what.contains("relay (pid 13) cannot bind port 9090 (5 times)")),
        "{told:?}"
    );
}

fn refusing(call: Call, errno: Errno, failed: u64) -> Vec<Finding> {
    let address = IpAddr::from([192, 0, 2, 9]);
    let refusal =
        |pid| Refusal { call, errno, address, port: 9000, failed, caller: share(pid, "app").process };
    found(&facts(Netns { refusals: vec![refusal(7), refusal(11)], ..netns() }))
}

#[test]
fn what_is_refused_for_another_reason_is_told_by_its_errno() {
    let told = refusing(Call::Connect, Errno::Acces, 20);
    assert_eq!((told[0].id, told[0].severity, told.len()), ("refused_not_for_ports", Severity::Warning, 1));
    assert!(told[0].what.contains("app (2 processes) fails 40 times with EACCES"), "{}", told[0].what);
    assert!(told[0].remedies.is_empty());
    let told = refusing(Call::Bind, Errno::AddrNotAvail, 25);
    assert_eq!((told[0].id, told[0].severity, told.len()), ("no_local_address", Severity::Critical, 1));
    assert!(
        told[0].what.contains("bind() of 192.0.2.9") && told[0].what.contains("50 times"),
        "{}",
        told[0].what
    );
    assert!(refused(&told[0], "open_tw_reuse"));
    // Now and then everybody is refused.
    assert_eq!(refusing(Call::Connect, Errno::ConnRefused, 4)[0].id, "nothing_wrong");
    assert_eq!(refusing(Call::Connect, Errno::ConnRefused, 5)[0].id, "refused_not_for_ports");
    assert_eq!(refusing(Call::Connect, Errno::Intr, 500)[0].id, "nothing_wrong");
}

#[test]
fn one_process_is_no_other_for_having_asked_for_another_port() {
    let address = IpAddr::from([192, 0, 2, 9]);
    let refusal = |port, failed, pid| Refusal {
        call: Call::Bind,
        errno: Errno::AddrNotAvail,
        address,
        port,
        failed,
        caller: share(pid, "relay").process,
    };
    let told = |refusals| only(&facts(Netns { refusals, ..netns() }));
    let finding = told(vec![refusal(8080, 5, 7), refusal(9090, 3, 7)]);
    assert_eq!(finding.headline, "relay[7] cannot bind 192.0.2.9: no such local address");
    assert_eq!((finding.who.len(), finding.who[0].failed), (1, 8));
    // Who failed most of all ports together is named.
    let finding = told(vec![refusal(8080, 6, 11), refusal(8080, 4, 7), refusal(9090, 3, 7)]);
    assert!(finding.headline.starts_with("relay[7] +1 cannot bind"), "{}", finding.headline);
    // Of source addresses the one is told for which most calls failed, with those who made them.
    let from =
        |last, failed| BindFailure { saddr: Some([10, 0, 0, last].into()), ..bind(0, failed, 7, "relay") };
    let finding = only(&facts(Netns { binds: vec![from(1, 5), from(2, 3)], ..netns() }));
    assert_eq!((finding.id, finding.who.len(), finding.who[0].failed), ("bound_source", 1, 5));
    assert!(finding.headline.starts_with("relay[7] cannot bind 10.0.0.1"), "{}", finding.headline);
    assert!(
        finding.what.contains("5 times with EADDRINUSE, and 3 times for other source"),
        "{}",
        finding.what
    );
    let another = |last, failed| BindFailure { caller: share(11, "proxy").process, ..from(last, failed) };
    let binds = vec![from(1, 50), another(2, 30), another(3, 30)];
    let finding = only(&facts(Netns { binds, ..netns() }));
    assert_eq!((finding.who.len(), finding.who[0].failed), (1, 50));
    assert!(finding.headline.starts_with("relay[7] cannot bind 10.0.0.1"), "{}", finding.headline);
}

#[test]
fn sockets_of_all_ports_that_were_refused_are_told_of_who_has_them() {
    let shares = |time_wait| vec![Share { time_wait, failed: 2, ..share(5, "old") }];
    let served = |port, time_wait| {
        let states = Ports { close_wait: 2, ..Ports::default() };
        Served { port, time_wait, open: 2, states, shares: shares(time_wait), ..Served::default() }
    };
    let binds = vec![bind(8080, 2, 5, "old"), bind(9090, 2, 5, "old")];
    let one = Netns { binds: binds[..1].to_vec(), served: vec![served(8080, 17)], ..netns() };
    assert!(only(&facts(one)).what.contains("and 2 open sockets (2 in CLOSE_WAIT) of earlier"));
    let finding = only(&facts(Netns { binds, served: vec![served(8080, 17), served(9090, 3)], ..netns() }));
    assert!(finding.what.contains("20 TIME_WAIT sockets and 4 open sockets of earlier"), "{}", finding.what);
    assert_eq!((finding.id, finding.who.len()), ("server_cannot_bind", 1));
    assert_eq!((finding.who[0].time_wait, finding.who[0].failed), (20, 4));
}

#[test]
fn no_address_to_connect_from_is_no_want_of_ports() {
    let why = Some("it has no IPv6 address");
    let finding = only(&with_tuple(Tuple { failed: 50, no_source: why, ..calm() }));
    assert_eq!((finding.id, finding.severity), ("no_local_address", Severity::Critical));
    assert!(finding.what.contains("it has no IPv6 address. Ports are free."), "{}", finding.what);
    // Where ports are the reason, they are.
    let full = full(Ports { time_wait: 1000, ..Ports::default() }, 13);
    assert_eq!(only(&with_tuple(Tuple { no_source: why, ..full })).id, "ports_exhausted");
}

#[test]
fn a_listener_at_another_address_is_not_in_the_way() {
    let asked = |saddr: &str, listens_on: &[&str]| {
        let call = BindFailure { saddr: Some(saddr.parse().unwrap()), ..bind(8080, 3, 7, "relay") };
        let listens_on = listens_on.iter().map(|address| address.parse().unwrap()).collect();
        let shares = vec![Share { time_wait: 17, ..share(5, "old") }];
        let served = Served { listening: true, listens_on, time_wait: 17, shares, ..on(8080, Vec::new()) };
        only(&facts(Netns { binds: vec![call], served: vec![served], ..netns() })).id
    };
    assert_eq!(asked("10.0.0.5", &["127.0.0.1"]), "server_cannot_bind");
    for (saddr, others) in
        [("10.0.0.5", "10.0.0.5"), ("10.0.0.5", "0.0.0.0"), ("10.0.0.5", "::"), ("0.0.0.0", "127.0.0.1")]
    {
        assert_eq!(asked(saddr, &[others]), "port_in_use", "{saddr} {others}");
    }
    // Where nobody knows, it may be.
    assert_eq!(asked("10.0.0.5", &[]), "port_in_use");
}

#[test]
fn what_is_known_goes_before_what_is_inferred() {
    // Others are on nearly all ports of the namespace, towards elsewhere.
    let around = || Some(Around { others: 960, in_own_range: 10, ..Around::default() });
    let ports = Ports { established: 10, ..Ports::default() };
    let ranged = Ranged { calls: 13, looked: 13, low: 40_000, high: 40_009 };
    let pool = |ranged| Tuple { ranged, around: around(), created: 0, ..full(ports, 13) };
    assert_eq!(only(&with_tuple(pool(ranged))).id, "socket_range");
    assert_eq!(only(&with_tuple(pool(Ranged::default()))).id, "ports_bound");
    // A range as wide as the namespace's is none of its own: where all is full, that is it.
    let wide = Ranged { calls: 13, looked: 13, low: 0, high: 0 };
    let all = full(Ports { time_wait: 1000, ..Ports::default() }, 13);
    assert_eq!(only(&with_tuple(Tuple { ranged: wide, ..all })).id, "ports_exhausted");
    let nowhere =
        Tuple { no_source: Some("it has no IPv6 address"), around: around(), ..full(Ports::default(), 13) };
    assert_eq!(only(&with_tuple(Tuple { created: 0, ..nowhere })).id, "no_local_address");
}
