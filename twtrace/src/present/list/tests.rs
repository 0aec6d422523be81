//! Listings of known sockets: what is shown, what is counted, what a filter leaves.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use super::*;
use crate::engine::Capacity;
use crate::host::net::netns::Netns;
use crate::host::net::slabinfo::TimeWaitSlab;
use crate::host::net::sockdiag::{States, TIMER_TIME_WAIT};
use crate::model::event::{Comm, Conn, Process, Via};
use crate::model::settings::Settings;
use crate::output::paint::Paint;
use crate::recording::{Encoder, Head, Recording};

const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

fn mapped(address: &str) -> [u8; 16] {
    match address.parse().unwrap() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    }
}

fn socket(state: u8, timer: u8, local: (&str, u16), remote: (&str, u16)) -> DiagSocket {
    DiagSocket {
        family: if local.0.contains(':') { 6 } else { 4 },
        is_mapped: false,
        state,
        timer,
        saddr: mapped(local.0),
        daddr: mapped(remote.0),
        sport: local.1,
        dport: remote.1,
        ifindex: 0,
        expires_ms: 59_700,
        uid: 0,
        inode: 0,
        cookie: 4_097,
    }
}

fn seen() -> NetnsSockets {
    let (here, there) = ("10.0.0.1", "10.0.0.9");
    let mut sockets = vec![
        socket(TIME_WAIT, TIMER_TIME_WAIT, ("2001:db8::1", 40_001), ("2001:db8::9", 443)),
        DiagSocket {
            expires_ms: 1_250,
            cookie: 0,
            ..socket(5, TIMER_TIME_WAIT, (here, 40_013), (there, 80))
        },
        DiagSocket { ifindex: 3, ..socket(TIME_WAIT, TIMER_TIME_WAIT, (here, 40_011), (there, 80)) },
        DiagSocket { ifindex: 4, ..socket(TIME_WAIT, TIMER_TIME_WAIT, (here, 39_999), (there, 80)) },
        socket(TIME_WAIT, TIMER_TIME_WAIT, (here, 8080), ("10.0.0.7", 40_005)),
        // Served from a port of the range.
        socket(TIME_WAIT, TIMER_TIME_WAIT, (here, 40_040), ("10.0.0.7", 40_005)),
        socket(5, 0, (here, 40_017), (there, 80)),
        socket(ESTABLISHED, 0, (here, 40_019), (there, 80)),
        socket(ESTABLISHED, 2, (here, 40_011), (there, 81)),
        // The same ends on another interface hold no other port.
        DiagSocket { ifindex: 9, ..socket(ESTABLISHED, 0, (here, 40_011), (there, 80)) },
    ];
    sockets.extend([8080, 40_040].map(|port| socket(LISTEN, 0, ("0.0.0.0", port), ("0.0.0.0", 0))));
    NetnsSockets {
        netns: 4_026_531_840,
        sockets,
        listeners: HashSet::from([8080, 40_040]),
        capacity: Some(Capacity {
            name: Some("he1".to_owned()),
            settings: Settings { max_tw_buckets: Some(24), ..Settings::of_range(40_000, 40_099) },
        }),
        interfaces: HashMap::from([(3, "et\x1bh0".to_owned())]),
        known: HashMap::new(),
    }
}

#[test]
fn a_table_shows_time_wait_sockets_as_ss_writes_them() {
    let mut out = String::new();
    table(&seen().time_wait(), &HashMap::new(), Paint::NONE, &mut out);
    let want = "\
SUBSTATE    LEFT  LOCAL                    REMOTE             OWNER
TIME_WAIT  59.7s  10.0.0.1:8080            10.0.0.7:40005     -
TIME_WAIT  59.7s  10.0.0.1%if4:39999       10.0.0.9:80        -
TIME_WAIT  59.7s  10.0.0.1%et\\x1bh0:40011  10.0.0.9:80        -
FIN_WAIT2   1.2s  10.0.0.1:40013           10.0.0.9:80        -
TIME_WAIT  59.7s  10.0.0.1:40040           10.0.0.7:40005     -
TIME_WAIT  59.7s  [2001:db8::1]:40001      [2001:db8::9]:443  -
";
    assert_eq!(out, want, "\n{out}");
    let mut out = String::new();
    let names = HashMap::from([(4_026_531_840, "he1".to_owned())]);
    table(&seen().time_wait()[..1], &names, Paint::NONE, &mut out);
    let want = "\
NETNS  SUBSTATE    LEFT  LOCAL          REMOTE          OWNER
he1    TIME_WAIT  59.7s  10.0.0.1:8080  10.0.0.7:40005  -
";
    assert_eq!(out, want, "\n{out}");
}

#[test]
fn a_mapped_socket_is_written_as_ss_does() {
    let socket = DiagSocket {
        is_mapped: true,
        ifindex: 3,
        ..socket(TIME_WAIT, TIMER_TIME_WAIT, ("10.0.0.1", 40_011), ("10.0.0.9", 80))
    };
    let mut out = String::new();
    table(
        &NetnsSockets { sockets: vec![socket], ..seen() }.time_wait(),
        &HashMap::new(),
        Paint::NONE,
        &mut out,
    );
    assert!(out.contains(" [::ffff:10.0.0.1]%et\\x1bh0:40011  [::ffff:10.0.0.9]:80  -"), "{out}");
}

/// A socket of [`seen`] and who owns it, as a recording that was made at `boot_id` tells.
fn recording(boot_id: &str, sport: u16, cookie: Option<u64>, ends_ns: u64) -> Recording {
    let head = Head { boot_id: boot_id.to_owned(), ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    let conn = socket(TIME_WAIT, TIMER_TIME_WAIT, ("10.0.0.1", sport), ("10.0.0.9", 80)).conn(4_026_531_840);
    let mut event = Event::new(Kind::Created, ends_ns - 60_000_000_000, Some(conn));
    (event.timeout_ms, event.cookie) = (Some(60_000), cookie);
    (event.role, event.via) = (Role::Client, Some(Via::Opener));
    let comm = Comm::new("php\x1bfpm");
    event.owner = Some(Process { pid: 1009, tid: 1013, uid: 33, cgroup_id: 0, start_ns: 1, comm });
    encoder.append(&event);
    encoder.close_batch().unwrap();
    let bytes = std::mem::take(encoder.bytes());
    Recording::read(std::io::Cursor::new(bytes), "it").unwrap()
}

/// Every socket that these tests ask for.
fn wanted() -> HashSet<Conn> {
    let socket = |sport| socket(TIME_WAIT, TIMER_TIME_WAIT, ("10.0.0.1", sport), ("10.0.0.9", 80));
    [40_011, 40_013, 40_017].map(|sport| socket(sport).conn(4_026_531_840)).into()
}

#[test]
fn what_no_listing_shows_is_not_kept() {
    let mut owners = Owners::default();
    let told = recording(&crate::model::clock::boot_id(), 40_019, Some(7), 131_000_000_000);
    assert!(owners.learn("it", told, &wanted()).is_some_and(|note| note.contains("has no end")));
    assert!(known(&owners, 40_019, 7).is_none());
}

/// `known` of the socket with this port, listed at 100 s.
fn known(owners: &Owners, sport: u16, cookie: u64) -> Option<Live> {
    let time_wait = socket(TIME_WAIT, TIMER_TIME_WAIT, ("10.0.0.1", sport), ("10.0.0.9", 80));
    let listed = DiagSocket { expires_ms: 31_000, cookie, ..time_wait };
    owners.of(&listed.conn(4_026_531_840), &listed, 100_000_000_000).cloned()
}

#[test]
fn owners_are_joined_by_cookie_and_else_by_time_left() {
    let learned = |cookie, ends_ns| {
        let mut owners = Owners::default();
        let note = owners.learn(
            "it",
            recording(&crate::model::clock::boot_id(), 40_013, cookie, ends_ns),
            &wanted(),
        );
        assert!(note.is_some_and(|note| note.contains("what came later is not known")));
        owners
    };
    let right_ns = 131_000_000_000;
    for (cookie, ends_ns, listed, want) in [
        (Some(7), right_ns, 7, true),
        // Its peer's FIN came late: the timer was armed anew.
        (Some(7), right_ns - 20_000_000_000, 7, true),
        (Some(7), right_ns, 11, false),
        (None, right_ns + 1_900_000_000, 11, true),
        (None, right_ns - 1_900_000_000, 11, true),
        (None, right_ns + 2_100_000_000, 11, false),
        (Some(7), right_ns - 2_100_000_000, 0, false),
    ] {
        let owners = learned(cookie, ends_ns);
        assert_eq!(known(&owners, 40_013, listed).is_some(), want, "{cookie:?} {ends_ns} {listed}");
        assert!(known(&owners, 40_017, listed).is_none());
    }
    let mut owners = Owners::default();
    let note = owners.learn("it", recording("another", 40_013, Some(7), right_ns), &wanted());
    assert!(note.is_some_and(|note| note.contains("another boot")));
    assert!(known(&owners, 40_013, 7).is_none());
}

#[test]
fn a_known_owner_is_shown_and_filtered_by() {
    let mut owners = Owners::default();
    owners.learn(
        "it",
        recording(&crate::model::clock::boot_id(), 40_011, Some(7), 131_000_000_000),
        &wanted(),
    );
    let live = known(&owners, 40_011, 7).unwrap();
    let time_wait = socket(TIME_WAIT, TIMER_TIME_WAIT, ("10.0.0.1", 40_011), ("10.0.0.9", 80));
    let known = HashMap::from([(time_wait.conn(4_026_531_840), live.clone())]);
    let sockets = NetnsSockets { sockets: vec![time_wait], known, ..seen() }.time_wait();
    let mut out = String::new();
    table(&sockets, &HashMap::new(), Paint::NONE, &mut out);
    assert!(out.ends_with(" 1009/php\\x1bfpm (opener)\n"), "{out}");
    let mut out = Vec::new();
    socket_line(&sockets[0], &mut out);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let want = ["role", "pid", "tid", "comm", "uid", "owner_via"].map(|key| json[key].to_string());
    assert_eq!(want, ["\"client\"", "1009", "1013", "\"php\\u001bfpm\"", "33", "\"opener\""]);
    let left = |filter: Filter, known| passes(&filter, 4_026_531_840, &time_wait, false, known);
    for (filter, want) in [
        (Filter { pids: vec![1009], ..Filter::default() }, true),
        (Filter { pids: vec![1013], ..Filter::default() }, false),
        (Filter { roles: vec![Role::Client], ..Filter::default() }, true),
    ] {
        assert_eq!(left(filter.clone(), Some(&live)), want, "{filter:?}");
        assert!(!left(filter, None), "nobody knows");
    }
}

#[test]
fn json_has_the_keys_of_events() {
    let lines: Vec<String> = seen()
        .time_wait()
        .iter()
        .map(|socket| {
            let mut out = Vec::new();
            socket_line(socket, &mut out);
            String::from_utf8(out).unwrap()
        })
        .collect();
    assert_eq!(
        lines[0],
        "{\"schema_version\":1,\"netns\":4026531840,\"family\":\"ipv4\",\"saddr\":\"10.0.0.1\",\"sport\":8080,\"daddr\":\"10.0.0.7\",\"dport\":40005,\
         \"role\":\"server\",\"substate\":\"TIME_WAIT\",\"cookie\":4097,\"expires_ms\":59700}\n"
    );
    let fin_wait2: serde_json::Value = serde_json::from_str(&lines[3]).unwrap();
    assert_eq!(
        fin_wait2,
        serde_json::json!({
            "schema_version": 1, "netns": 4_026_531_840_u32, "family": "ipv4", "saddr": "10.0.0.1", "sport": 40_013, "daddr": "10.0.0.9",
            "dport": 80, "role": "unknown", "substate": "FIN_WAIT2", "expires_ms": 1_250,
        })
    );
    assert!(lines[2].contains(r#""ifindex":3,"ifname":"et\u001bh0""#), "{}", lines[2]);
}

#[test]
fn a_summary_counts_states_memory_and_ports_left() {
    let slab = TimeWaitSlab { object_bytes: 256, bytes: 12_288 };
    let summary = Summary::of(&[seen()], Some(slab));
    let count = |name| summary.states.iter().find(|(state, _)| *state == name).unwrap().1;
    assert_eq!((count("TIME_WAIT"), count("FIN_WAIT2"), count("ESTABLISHED"), count("LISTEN")), (5, 2, 3, 2));
    assert_eq!((summary.sockets(), summary.in_time_wait, summary.in_fin_wait2), (12, 5, 1));
    let mut out = String::new();
    summary_text(&summary, Paint::NONE, &mut out);
    let want = "\
STATE        SOCKETS
ESTABLISHED        3
FIN_WAIT2          2
TIME_WAIT          5
LISTEN             2
all               12

TIME_WAIT sockets: 6, 1 of them in FIN_WAIT2; tcp_max_tw_buckets 24 (25%)
memory: 12.0 KiB of slab on this machine, 256 B each

IN USE  TIME_WAIT  OTHERS  LEFT  USED  TUPLE
     4          2       2    96    4%  10.0.0.1 > 10.0.0.9:80
     1          0       1    99    1%  10.0.0.1 > 10.0.0.9:81
     1          1       0    99    1%  [2001:db8::1] > [2001:db8::9]:443
";
    assert_eq!(out, want, "\n{out}");
    let mut out = Vec::new();
    summary_line(&summary, &[], &mut out);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        json["tuples"][0],
        serde_json::json!({
            "netns": 4_026_531_840_u32, "saddr": "10.0.0.1", "daddr": "10.0.0.9", "dport": 80, "ports_in_use": 4,
            "ports_in_time_wait": 2, "ports": 100, "ports_left": 96, "pressure": 0.04,
        })
    );
    assert_eq!(
        (&json["states"]["FIN_WAIT2"], &json["time_wait"], &json["states"]["SYN_SENT"]),
        (&2.into(), &6.into(), &0.into())
    );
}

#[test]
fn several_namespaces_are_told_apart() {
    let other = NetnsSockets { netns: 4_026_532_999, capacity: None, ..seen() };
    let quiet = NetnsSockets { netns: 4_026_532_111, sockets: Vec::new(), ..seen() };
    let summary = Summary::of(&[quiet, other, seen()], None);
    let mut out = String::new();
    summary_text(&summary, Paint::NONE, &mut out);
    assert!(out.contains("memory: not known"), "{out}");
    let want = "
NETNS       TIME_WAIT  MAX_BUCKETS  USED
he1                 6           24   25%
4026532999          6            -     -
he1                 0           24    0%
";
    assert!(out.contains(want), "{out}");
    assert!(out.contains("he1         4          2       2    96    4%  10.0.0.1 > 10.0.0.9:80\n"), "{out}");
}

#[test]
fn filters_leave_what_they_say() {
    let all = seen();
    let left = |filter: Filter| {
        let served = |socket: &DiagSocket| all.listeners.contains(&socket.sport);
        all.sockets
            .iter()
            .filter(|s| s.is_time_wait() && passes(&filter, all.netns, s, served(s), None))
            .count()
    };
    let none = Filter::default;
    assert_eq!(left(none()), 6);
    assert_eq!(left(Filter { family: Some(6), ..none() }), 1);
    assert_eq!(left(Filter { sports: vec![8080], ..none() }), 1);
    assert_eq!(left(Filter { dports: vec![80, 443], ..none() }), 4);
    assert_eq!(left(Filter { ports: vec![40_005, 40_040], ..none() }), 2);
    assert_eq!(left(Filter { peers: vec!["10.0.0.8/30".parse().unwrap()], ..none() }), 3);
    assert_eq!(left(Filter { roles: vec![Role::Server], ..none() }), 2);
    assert_eq!(left(Filter { netns: vec![1], ..none() }), 0);
}

#[test]
fn own_namespace_is_looked_into_without_privilege() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = Netns::own().unwrap().inode;
    for choice in [Choice::Own, Choice::These(vec![own])] {
        let (seen, _) = sockets_in(&choice, States::ALL, &Filter::default(), &Owners::default()).unwrap();
        assert_eq!((seen.len(), seen[0].netns, seen[0].listeners.contains(&port)), (1, own, true));
        assert!(seen[0].capacity.is_some());
    }
    let (seen, _) =
        sockets_in(&Choice::Own, States::TIME_WAIT_OR_FIN_WAIT2, &Filter::default(), &Owners::default())
            .unwrap();
    assert!(
        seen[0].sockets.iter().all(|socket| socket.state != LISTEN),
        "listeners are looked at, not listed"
    );
    let refused =
        sockets_in(&Choice::These(vec![4_194_305]), States::ALL, &Filter::default(), &Owners::default())
            .unwrap_err()
            .to_string();
    assert!(refused.contains("4194305") && refused.contains("lsns"), "{refused}");
}
