//! Owns: states that tests of every view show, and comparing what they show with what it should be.
//! Must not know: how anything is shown.

use std::net::IpAddr;
use std::sync::Arc;

use super::Frame;
use crate::engine::{By, Capacity, Limits, Seed, Tracker};
use crate::model::clock::Clock;
use crate::model::event::{
    Comm, Conn, Errno, Event, Kind, Loss, Opener, Process, Reason, Role, Substate, Via,
};
use crate::model::identity::{Identity, Names, Naming, container_of};
use crate::model::settings::Settings;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
pub(crate) const NETNS: u32 = 4_026_531_840;
/// Snapshots are taken then.
pub(crate) const NOW_S: u64 = 119;

/// A process and its end of connections.
pub(crate) struct Actor {
    pid: u32,
    name: &'static str,
    role: Role,
    saddr: &'static str,
    daddr: &'static str,
    dport: u16,
}

pub(crate) const CLIENT: Actor = Actor {
    pid: 4_194_301,
    name: "php-fpm",
    role: Role::Client,
    saddr: "10.0.0.1",
    daddr: "10.0.0.9",
    dport: 5432,
};
pub(crate) const SERVER: Actor =
    Actor { pid: 13, name: "nginx: worker", role: Role::Server, daddr: "10.0.0.7", dport: 51_001, ..CLIENT };
pub(crate) const HOSTILE: Actor = Actor {
    pid: 101,
    name: "\x1b[2J\u{202e}evil名前",
    saddr: "2001:db8:1111:2222:3333:4444:5555:6666",
    daddr: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
    dport: 443,
    ..CLIENT
};
/// Runs once for each connection.
const CURL: Actor = Actor { pid: 200, name: "curl", daddr: "192.168.101.102", dport: 58_443, ..CLIENT };

impl Actor {
    pub(crate) fn event(&self, kind: Kind, at_s: f64, sport: u16) -> Event {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (saddr, daddr) = (address(self.saddr), address(self.daddr));
        let conn = Conn { netns: NETNS, ifindex: 0, saddr, daddr, sport, dport: self.dport };
        let mut event = Event::new(kind, (at_s * 1e9) as u64, Some(conn));
        event.role = self.role;
        if kind == Kind::BindFailed
            && let Some(conn) = &mut event.conn
        {
            (conn.daddr, conn.dport) = (address("0.0.0.0"), 0);
        }
        if kind == Kind::Ended {
            event.substate = Some(Substate::TimeWait);
            return event;
        }
        let (pid, comm) = (self.pid, Comm::new(self.name));
        event.owner = Some(Process { pid, tid: pid, uid: 33, cgroup_id: 5, start_ns: 1_000, comm });
        event.identity = Some(Arc::new(self.identity()));
        match kind {
            Kind::ConnectFailed => event.errno = Some(Errno::AddrNotAvail),
            Kind::BindFailed => event.errno = Some(Errno::AddrInUse),
            _ => {
                event.via = Some(Via::Close);
                event.opener = Some(Opener { pid, start_ns: 1_000, comm });
                event.age_ns = Some(3_100_000);
                (event.bytes_sent, event.bytes_received) = (Some(83), Some(70_001));
            }
        }
        if kind == Kind::Created {
            event.substate = Some(Substate::TimeWait);
            (event.timeout_ms, event.cookie) = (Some(60_000), Some(0x1000 + u64::from(sport)));
        }
        event
    }

    pub(crate) fn ended(&self, at_s: f64, sport: u16, reason: Reason) -> Event {
        Event { reason: Some(reason), ..self.event(Kind::Ended, at_s, sport) }
    }

    fn identity(&self) -> Identity {
        let cgroup = format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
        let container = container_of(&cgroup).filter(|_| self.pid == CLIENT.pid);
        let options = "--option=value ".repeat(20);
        let cmdline = format!("{} --listen \x1b]0;title\x07 {options}", self.name).into();
        let exe = Some("/usr/bin/\u{202e}exe".to_owned());
        let (pod, pod_namespace) = (Some("web-17".to_owned()), Some("shop".to_owned()));
        let names = container.as_ref().map(|_| Names { pod, pod_namespace, ..Names::default() });
        let names = names.map_or_else(Naming::default, Naming::from);
        Identity { exe, cmdline, cgroup: Some(cgroup), container, names }
    }
}

fn events() -> Vec<Event> {
    let mut events: Vec<Event> = (0..83)
        .map(|n| CLIENT.event(Kind::Created, 101.0 + f64::from(n) * f64::from(n) / 400.0, 40_000 + n))
        .collect();
    events.extend((0..11).map(|n| CLIENT.ended(110.0 + f64::from(n) / 2.0, 40_000 + n, Reason::Expired)));
    events.extend((0..7).map(|_| CLIENT.event(Kind::ConnectFailed, 118.2, 0)));
    for n in 0..29 {
        let peer = Actor { dport: 51_000 + n, ..SERVER };
        events.push(peer.event(Kind::Created, 117.0, 80));
    }
    events.push(SERVER.event(Kind::BindFailed, 118.6, 81));
    events.extend((0..3).map(|n| HOSTILE.event(Kind::Created, 118.3, 40_000 + n)));
    events.push(HOSTILE.event(Kind::Overflow, 118.4, 40_003));
    events.push(CLIENT.ended(118.5, 40_013, Reason::Reset));
    let mut lost = Event::new(Kind::Lost, 118_700_000_000, None);
    lost.loss = Some(Box::new(Loss { created: 2, missed_runs: 1, ..Loss::default() }));
    events.push(lost);
    for pid in 200..223 {
        let curl = Actor { pid, ..CURL };
        events.push(curl.event(Kind::Created, 111.0, 40_000 + (pid - 200) as u16));
    }
    events.push(Actor { dport: 58_444, ..CURL }.event(Kind::Created, 111.5, 40_000));
    events.sort_by_key(|event| event.mono_ns);
    events
}

/// Sockets that were there before, as a listing shows them.
fn seeds() -> impl Iterator<Item = Seed> {
    (41_000..41_011).filter_map(|sport| {
        let conn = HOSTILE.event(Kind::Ended, 0.0, sport).conn?;
        let ends_ns = 150 * SECOND_NS;
        Some(Seed { conn, cookie: None, substate: Substate::TimeWait, role: Role::Unknown, ends_ns })
    })
}

/// Nothing has happened for 19 seconds.
pub(crate) fn quiet(limits: Limits) -> Tracker {
    let mut tracker = Tracker::with_limits(limits);
    tracker.advance((NOW_S - 19) * SECOND_NS);
    tracker
}

/// 100 ports, of which a client uses most; addresses and names as long as can be; strangers; losses; a process that is gone. And
/// the events that made it.
pub(crate) fn busy(limits: Limits) -> (Tracker, Vec<Event>) {
    let mut tracker = quiet(limits);
    let capacity = Capacity {
        name: None,
        settings: Settings { max_tw_buckets: Some(1_009), ..Settings::of_range(40_000, 40_099) },
    };
    tracker.set_capacity(NETNS, capacity);
    tracker.seed(seeds());
    let mut events = events();
    events.iter_mut().for_each(|event| drop(tracker.apply(event)));
    let gone = tracker.present().into_iter().filter(|(pid, _)| *pid == CURL.pid).collect();
    tracker.mark_gone(&gone);
    tracker.advance(NOW_S * SECOND_NS);
    (tracker, events)
}

/// Everything that a picture shows.
pub(crate) fn frame(tracker: &Tracker) -> Frame {
    let clock = Clock { mono_ns: NOW_S * SECOND_NS, wall_ns: 1_795_363_200_000_000_000 };
    Frame {
        snapshot: tracker.snapshot(By::ALL),
        backend: "tracepoint",
        slab_bytes: Some(77_824),
        clock,
        limitations: Vec::new(),
        recorded: None,
    }
}

/// Compares with a file below `src`. `TWTRACE_BLESS=1` writes it anew: then read the difference.
pub(crate) fn compare(path: &str, got: &str) {
    let path = format!("{}/src/{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TWTRACE_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(got == want, "{path} was\n{want}\nand is\n{got}");
}
