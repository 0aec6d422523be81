//! Pictures of a known world, compared with what is in testdata. `TWTRACE_BLESS=1` writes them anew: then read the difference.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Frame, Layout, json_line, plain};
use crate::clock::Clock;
use crate::event::{Comm, Conn, Event, Kind, Loss, Process, Reason, Role, Substate, Via};
use crate::identity::{Identity, container_of};
use crate::tracker::{By, Capacity, Limits, Seed, Tracker};

const SECOND_NS: u64 = 1_000_000_000;
const NETNS: u32 = 4_026_531_840;

/// A process and its end of connections.
struct Actor {
    pid: u32,
    name: &'static str,
    role: Role,
    saddr: &'static str,
    daddr: &'static str,
    dport: u16,
}

const CLIENT: Actor = Actor {
    pid: 4_194_301,
    name: "php-fpm",
    role: Role::Client,
    saddr: "10.0.0.1",
    daddr: "10.0.0.9",
    dport: 5432,
};
const SERVER: Actor =
    Actor { pid: 13, name: "nginx: worker", role: Role::Server, daddr: "10.0.0.7", dport: 51_001, ..CLIENT };
const HOSTILE: Actor = Actor {
    pid: 101,
    name: "\x1b[2J\u{202e}evil名前",
    saddr: "2001:db8:1111:2222:3333:4444:5555:6666",
    daddr: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
    dport: 443,
    ..CLIENT
};
const QUICK: Actor = Actor { pid: 7, name: "curl", daddr: "192.168.101.102", dport: 58_443, ..CLIENT };

impl Actor {
    fn event(&self, kind: Kind, at_s: f64, sport: u16) -> Event {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (saddr, daddr) = (address(self.saddr), address(self.daddr));
        let conn = Conn { netns: NETNS, ifindex: 0, saddr, daddr, sport, dport: self.dport };
        let mut event = Event::new(kind, (at_s * 1e9) as u64, Some(conn));
        let comm = Comm::new(self.name);
        event.role = self.role;
        if kind != Kind::Ended {
            event.owner =
                Some(Process { pid: self.pid, tid: self.pid, uid: 33, cgroup_id: 5, start_ns: 1_000, comm });
            let cgroup = format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
            let container = container_of(&cgroup).filter(|_| self.pid == CLIENT.pid);
            let exe = Some(format!("/usr/bin/{}", self.pid));
            event.identity = Some(Arc::new(Identity { exe, cmdline: None, cgroup: Some(cgroup), container }));
        }
        event
    }

    fn created(&self, at_s: f64, sport: u16) -> Event {
        let mut event = self.event(Kind::Created, at_s, sport);
        event.substate = Some(Substate::TimeWait);
        event.timeout_ms = Some(60_000);
        event.via = Some(Via::Close);
        event.age_ns = Some(3_100_000);
        (event.bytes_sent, event.bytes_received) = (Some(83), Some(70_001));
        event
    }

    fn ended(&self, at_s: f64, sport: u16, reason: Reason) -> Event {
        let mut event = self.event(Kind::Ended, at_s, sport);
        (event.substate, event.reason) = (Some(Substate::TimeWait), Some(reason));
        event
    }
}

/// 100 ports, of which a client uses 83; an address that is as long as can be; a process that is gone; names from strangers.
fn world() -> Tracker {
    let mut world = Tracker::with_limits(Limits { containers: 1, ..Limits::default() });
    world.advance(100 * SECOND_NS);
    let capacity =
        Capacity { range: (40_000, 40_099), reserved: Vec::new(), ports: 100, max_tw_buckets: 1_009 };
    world.set_capacity(NETNS, capacity);
    let listed = (41_000..41_011).map(|sport| Seed {
        conn: HOSTILE.event(Kind::Ended, 0.0, sport).conn.unwrap(),
        cookie: None,
        substate: Substate::TimeWait,
        role: Role::Unknown,
        ends_ns: 150 * SECOND_NS,
    });
    world.seed(listed);
    let mut events: Vec<Event> =
        (0..83).map(|n| CLIENT.created(110.0 + f64::from(n) / 10.0, 40_000 + n)).collect();
    events.extend((0..7).map(|_| CLIENT.event(Kind::ConnectFailed, 118.5, 0)));
    events.extend((0..29).map(|n| SERVER.created(117.0, n)).map(|mut event| {
        event.conn.as_mut().unwrap().dport += event.conn.unwrap().sport;
        event.conn.as_mut().unwrap().sport = 80;
        event
    }));
    events.extend((0..3).map(|n| HOSTILE.created(118.2, 40_000 + n)));
    events.push(CLIENT.created(118.3, 40_099));
    events.push(HOSTILE.event(Kind::Overflow, 118.3, 40_003));
    events.push(QUICK.created(111.0, 40_001));
    events.push(Actor { dport: 58_444, ..QUICK }.created(111.0, 40_001));
    events.push(CLIENT.ended(118.4, 40_099, Reason::Reset));
    events.push(SERVER.event(Kind::BindFailed, 118.6, 81));
    let mut lost = Event::new(Kind::Lost, 118 * SECOND_NS, None);
    lost.loss = Some(Loss { created: 2, missed_runs: 1, ..Loss::default() });
    events.push(lost);
    events.iter_mut().for_each(|event| world.apply(event));
    world.mark_gone(&(&QUICK.created(0.0, 0).owner.unwrap()).into());
    world.advance(119 * SECOND_NS);
    world
}

fn frame(world: &Tracker) -> Frame {
    let clock = Clock { mono_ns: 119 * SECOND_NS, wall_ns: 1_795_363_200_000_000_000 };
    Frame { snapshot: world.snapshot(By::ALL), backend: "tracepoint", slab_bytes: Some(77_824), clock }
}

fn text(world: &Tracker, layout: Layout) -> String {
    let mut out = String::new();
    plain(&frame(world), layout, &jiff::tz::TimeZone::UTC, &mut out);
    out
}

fn compare(name: &str, got: &str) {
    let path = format!("{}/src/live/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TWTRACE_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap();
    assert!(got == want, "{name} was\n{want}\nand is\n{got}");
}

#[test]
fn a_busy_world_as_a_table() {
    let world = world();
    let narrow = text(&world, Layout { wide: false, interval_s: 1 });
    compare("narrow.txt", &narrow);
    for line in narrow.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line:?}");
    }
    compare("wide.txt", &text(&world, Layout { wide: true, interval_s: 10 }));
}

#[test]
fn an_empty_world_as_a_table() {
    let mut world = Tracker::new();
    world.advance(119 * SECOND_NS);
    compare("empty.txt", &text(&world, Layout::default()));
}

#[test]
fn nothing_from_a_stranger_acts_on_the_terminal() {
    let world = world();
    for wide in [false, true] {
        let text = text(&world, Layout { wide, interval_s: 1 });
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_busy_world_as_json() {
    let mut out = Vec::new();
    json_line(&frame(&world()), &mut out);
    let line = String::from_utf8(out).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "one line");
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    // Key by key on lines of their own, so that a difference can be read.
    compare("busy.json", &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
}
