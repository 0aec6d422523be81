//! Owns: events of every kind with every field, and a small recording of them, for all tests.
//! Must not know: what is tested with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::host::net::books::Books;
use crate::model::event::{
    AbortWhy, Comm, Conn, Errno, Event, Kind, Loss, Opener, PortVia, Process, Reason, Role, Substate, Via,
};
use crate::model::identity::{Container, Identity, Runtime};
use crate::model::limitation::{Limitation, What};
use crate::model::settings::Settings;
use crate::recording::lists::{Holder, Listed, Lists};
use crate::recording::{Command, Encoder, Ending, Exit, Head, Namespace, Stop, Tail, Usage};

/// CLOCK_MONOTONIC at the start of every sample.
pub(crate) const START_NS: u64 = 1_000_000_000_007;
/// 2026-01-02T03:04:05.000000006Z
pub(crate) const WALL_NS: i64 = 1_767_323_045_000_000_006;

pub(crate) fn conn(at: u16) -> Conn {
    let v6 = at % 3 == 2;
    let address = |last: u16| match v6 {
        false => IpAddr::V4(Ipv4Addr::new(10, 0, (last >> 8) as u8, last as u8)),
        true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)),
    };
    let (saddr, daddr) = (address(1), address(at % 7));
    Conn { netns: 4_026_531_840, ifindex: u32::from(at % 2), saddr, daddr, sport: 32_768 + at, dport: 80 }
}

pub(crate) fn owner(pid: u32) -> Process {
    Process {
        pid,
        tid: pid + 1,
        uid: 1000,
        cgroup_id: 77 + u64::from(pid % 2),
        start_ns: 5_000_000_003,
        comm: Comm::new("täst \u{1b}[31m\n"),
    }
}

pub(crate) fn identity() -> Arc<Identity> {
    let container = Container {
        runtime: Runtime::Docker,
        id: "0123456789abcdef".repeat(4),
        short: "0123456789ab".to_owned(),
        pod_uid: Some("0a1b2c3d-0000-1111-2222-333344445555".to_owned()),
    };
    Arc::new(Identity {
        exe: Some("/usr/bin/ab".to_owned()),
        cmdline: crate::model::identity::Cmdline::default(),
        cgroup: Some("/docker/\u{7}x".to_owned()),
        container: Some(container),
        names: crate::model::identity::Names {
            name: Some("shop-\u{1b}web-1".to_owned()),
            image: Some("nginx:1.29".to_owned()),
            pod: Some("web-17".to_owned()),
            pod_namespace: Some("shop".to_owned()),
        }
        .into(),
    })
}

pub(crate) fn created(at: u16) -> Event {
    let mut event = Event::new(Kind::Created, START_NS + 1_000_003 * u64::from(at), Some(conn(at)));
    event.role = Role::ALL[usize::from(at) % 3];
    event.substate = Some(Substate::ALL[usize::from(at) % 2]);
    event.timeout_ms = Some(60_000);
    event.cookie = (!at.is_multiple_of(5)).then_some(0x1_0000 + u64::from(at));
    event.owner = (!at.is_multiple_of(11)).then(|| owner(100 + u32::from(at % 3)));
    event.via = Some(Via::ALL[usize::from(at) % 5]);
    event.identity = event.owner.map(|_| identity());
    event.opener = at.is_multiple_of(2).then(|| Opener { pid: 9, start_ns: 11, comm: Comm::new("opener") });
    event.age_ns = Some(1_999_999 + u64::from(at));
    event.bytes_sent = Some(u64::from(at) * 1000);
    event.bytes_received = Some(u64::MAX - u64::from(at));
    event.port_via = Some(PortVia::ALL[usize::from(at) % 4]);
    event
}

pub(crate) fn ended(at: u16) -> Event {
    let mut event = created(at);
    event.kind = Kind::Ended;
    event.mono_ns += 60_000_000_000;
    event.timeout_ms = None;
    event.age_ns = None;
    event.bytes_sent = None;
    event.bytes_received = None;
    event.port_via = None;
    event.reason = Some(Reason::ALL[usize::from(at) % 8]);
    event.lifetime_ns = Some(60_000_000_001);
    event
}

pub(crate) fn listed(at: u16) -> Event {
    Event {
        kind: Kind::Listed,
        age_ns: None,
        bytes_sent: None,
        bytes_received: None,
        port_via: None,
        lifetime_ns: at.is_multiple_of(2).then_some(29_000_000_001),
        ..created(at)
    }
}

pub(crate) fn failed(at: u16) -> Event {
    let kind = if at.is_multiple_of(2) { Kind::ConnectFailed } else { Kind::BindFailed };
    let mut event = Event::new(kind, START_NS + u64::from(at), Some(conn(at)));
    event.role = Role::usual(kind);
    event.owner = Some(owner(7));
    event.identity = Some(Arc::new(Identity { exe: Some("/x".to_owned()), ..Identity::default() }));
    event.errno = Some(Errno::ALL[usize::from(at) % 2]);
    event.reuseaddr = (kind == Kind::BindFailed && !at.is_multiple_of(3)).then_some(at.is_multiple_of(5));
    event.own_range = (!at.is_multiple_of(7)).then_some((at, at / 3));
    event
}

pub(crate) fn aborted(at: u16) -> Event {
    let why = AbortWhy::ALL[usize::from(at / 2) % 3];
    Event {
        kind: Kind::Aborted,
        substate: None,
        timeout_ms: None,
        age_ns: None,
        why: Some(why),
        ..created(at)
    }
}

pub(crate) fn refused(at: u16) -> Event {
    let mut event = Event::new(Kind::SynRefused, START_NS + u64::from(at), Some(conn(at)));
    event.substate = Some(Substate::TimeWait);
    event.cookie = Some(0x1_0000 + u64::from(at));
    event
}

pub(crate) fn lost(at: u16) -> Event {
    let mut event = Event::new(Kind::Lost, START_NS + u64::from(at), None);
    event.loss = Some(Box::new(Loss {
        created: 1,
        ended: 2,
        overflow: 3,
        connect_failed: 5,
        bind_failed: 7,
        owners: 11,
        missed_runs: u64::from(at),
        missed: 13,
        unwritten: 23,
        aborted: 17,
        syn_refused: 19,
    }));
    event
}

/// `count` events, every kind and every field among them.
pub(crate) fn events(count: u16) -> Vec<Event> {
    let make = |at: u16| match at % 7 {
        0 | 1 => created(at),
        2 => ended(at),
        3 if at.is_multiple_of(2) => aborted(at),
        3 => Event { kind: Kind::Overflow, substate: None, timeout_ms: None, cookie: None, ..created(at) },
        4 => failed(at / 7),
        5 => listed(at),
        _ if at.is_multiple_of(2) => refused(at),
        _ => lost(at),
    };
    (0..count).map(make).collect()
}

pub(crate) fn namespace() -> Namespace {
    let sysctls = Settings {
        port_range: Some((32_768, 60_999)),
        reserved: vec![(40_000, 40_007)],
        tw_reuse: Some(2),
        tw_reuse_delay_ms: Some(1000),
        max_tw_buckets: Some(262_144),
        timestamps: Some(1),
        rfc1337: Some(0),
        fin_timeout_s: Some(60),
        ..Settings::default()
    };
    let counters =
        Books { tw: 1, tw_recycled: 2, tw_killed: 3, tw_overflow: 5, sockstat_tw: 7, inuse: 11, inuse6: 13 };
    Namespace {
        netns: 4_026_531_840,
        name: Some("blue".to_owned()),
        sysctls: Some(sysctls),
        counters: Some(counters),
    }
}

pub(crate) fn limitation() -> Limitation {
    Limitation::new(What::BindFailed, "no hook", "another kernel")
}

pub(crate) fn head() -> Head {
    Head {
        schema_version: crate::output::SCHEMA_VERSION,
        twtrace: "0.1.0".to_owned(),
        host: "sample".to_owned(),
        machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        kernel: "6.18.0".to_owned(),
        boot_id: "00000000-1111-2222-3333-444444444444".to_owned(),
        mono_ns: START_NS,
        wall_ns: WALL_NS,
        backend: "fentry".to_owned(),
        filters: vec!["--dport 80".to_owned()],
        only_command: true,
        command: Some(Command { argv: vec!["ab".to_owned(), "-n1".to_owned()], uid: 1000 }),
        namespaces: vec![namespace()],
        limitations: vec![limitation()],
        part: 0,
        seed_notes: 0,
    }
}

fn lists() -> Lists {
    let holder = Holder { pid: Some(7), comm: "\x1b[2J".to_owned(), ..Holder::default() };
    let listed = Listed { netns: 5, pins: vec![(0, 3)], pinned: 3, ..Listed::default() };
    let dead = ("/etc/sysctl.conf", "net.ipv4.tcp_tw_recycle", "1");
    Lists {
        processes: vec![holder],
        namespaces: vec![listed],
        slab: Some((248, 4096)),
        dead_settings: vec![(dead.0.to_owned(), dead.1.to_owned(), dead.2.to_owned())],
    }
}

pub(crate) fn tail() -> Tail {
    let usage =
        Usage { user_us: 1, system_us: 2, max_rss_kib: 3, voluntary_switches: 5, involuntary_switches: 7 };
    Tail {
        mono_ns: START_NS + 61_000_000_000,
        wall_ns: WALL_NS + 61_000_000_000,
        stop: Stop::Command,
        command: Some(Ending { exit: Exit::Status(3), usage }),
        namespaces: vec![namespace()],
        lost: Loss { created: 1, ..Loss::default() },
        limitations: vec![limitation()],
        events: 0,
        live: 13,
        lists: Some(lists()),
    }
}

/// A whole recording of `events` in batches of `batch`, and the offset at which each batch is complete.
pub(crate) fn recorded(events: &[Event], batch: usize) -> (Vec<u8>, Vec<usize>) {
    let mut encoder = Encoder::new(&head()).unwrap();
    let mut ends = Vec::new();
    for events in events.chunks(batch) {
        events.iter().for_each(|event| encoder.append(event));
        encoder.close_batch().unwrap();
        ends.push(encoder.bytes().len());
    }
    encoder.met(&[Namespace { netns: 5, ..Namespace::default() }]).unwrap();
    encoder.finish(&tail()).unwrap();
    (std::mem::take(encoder.bytes()), ends)
}
