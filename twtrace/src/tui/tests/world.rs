//! Owns: worlds for screens to show.
//! Must not know: screens.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::event::{Comm, Conn, Errno, Event, Kind, Loss, Process, Reason, Role, Substate, Via};
use crate::identity::{Identity, container_of};
use crate::live::Frame;
use crate::tracker::{By, Capacity, Tracker};
use crate::tui::journal::Journal;
use crate::tui::views::Picture;

const SECOND_NS: u64 = 1_000_000_000;
const NETNS: u32 = 4_026_531_840;
/// The screen is looked at then.
const NOW_S: u64 = 119;

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

impl Actor {
    fn event(&self, kind: Kind, at_s: f64, sport: u16) -> Event {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (saddr, daddr) = (address(self.saddr), address(self.daddr));
        let conn = Conn { netns: NETNS, ifindex: 0, saddr, daddr, sport, dport: self.dport };
        let mut event = Event::new(kind, (at_s * 1e9) as u64, Some(conn));
        event.role = self.role;
        event.substate = Some(Substate::TimeWait);
        if kind == Kind::Ended {
            return event;
        }
        let comm = Comm::new(self.name);
        event.owner =
            Some(Process { pid: self.pid, tid: self.pid, uid: 33, cgroup_id: 5, start_ns: 1_000, comm });
        let cgroup = format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
        let container = container_of(&cgroup).filter(|_| self.pid == CLIENT.pid);
        let cmdline =
            Some(format!("{} --listen \x1b]0;title\x07 {}", self.name, "--option=value ".repeat(20)));
        let exe = Some("/usr/bin/\u{202e}exe".to_owned());
        event.identity = Some(Arc::new(Identity { exe, cmdline, cgroup: Some(cgroup), container }));
        (event.age_ns, event.via) = (Some(3_100_000), Some(Via::Close));
        (event.bytes_sent, event.bytes_received) = (Some(83), Some(70_001));
        (event.timeout_ms, event.errno) = (Some(60_000), Some(Errno::AddrNotAvail));
        event
    }

    fn ended(&self, at_s: f64, sport: u16, reason: Reason) -> Event {
        Event { reason: Some(reason), ..self.event(Kind::Ended, at_s, sport) }
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
    events.extend((0..3).map(|n| HOSTILE.event(Kind::Created, 118.3, 40_000 + n)));
    events.push(HOSTILE.event(Kind::Overflow, 118.4, 40_003));
    events.push(CLIENT.ended(118.5, 40_013, Reason::Reset));
    let mut lost = Event::new(Kind::Lost, 118_600_000_000, None);
    lost.loss = Some(Loss { created: 2, missed_runs: 1, ..Loss::default() });
    events.push(lost);
    for pid in 200..223 {
        let idle = Actor { pid, name: "curl", daddr: "192.168.101.102", dport: 58_443, ..CLIENT };
        events.push(idle.event(Kind::Created, 111.0, 40_000 + pid as u16));
    }
    events
}

/// 100 ports, of which a client uses most; addresses and names as long as can be; strangers; losses.
pub(super) fn busy() -> (Tracker, Journal) {
    let (mut world, journal) = quiet();
    let mut journal = journal;
    let mut events = events();
    events.sort_by_key(|event| event.mono_ns);
    for event in &mut events {
        world.apply(event);
        journal.note(event);
    }
    let capacity =
        Capacity { range: (40_000, 40_099), reserved: Vec::new(), ports: 100, max_tw_buckets: 1_009 };
    world.set_capacity(NETNS, capacity);
    let gone: Vec<_> = world.present().filter(|key| key.pid == 200).collect();
    gone.iter().for_each(|key| world.mark_gone(key));
    world.advance(NOW_S * SECOND_NS);
    (world, journal)
}

/// The busy one, and a socket in another network namespace.
pub(super) fn two_namespaces() -> (Tracker, Journal) {
    let (mut world, journal) = busy();
    let mut event = SERVER.event(Kind::Created, 118.9, 8080);
    if let Some(conn) = &mut event.conn {
        conn.netns = NETNS + 1;
    }
    world.apply(&mut event);
    world.advance(NOW_S * SECOND_NS + 1);
    (world, journal)
}

/// Nothing has happened for 19 seconds.
pub(super) fn quiet() -> (Tracker, Journal) {
    let mut world = Tracker::new();
    world.advance((NOW_S - 19) * SECOND_NS);
    (world, Journal::default())
}

pub(super) fn picture(world: &Tracker, journal: &Journal) -> Picture {
    let clock = Clock { mono_ns: NOW_S * SECOND_NS, wall_ns: 1_795_363_200_000_000_000 };
    let frame =
        Frame { snapshot: world.snapshot(By::ALL), backend: "tracepoint", slab_bytes: Some(77_824), clock };
    Picture { frame, journal: journal.clone(), zone: jiff::tz::TimeZone::UTC }
}
