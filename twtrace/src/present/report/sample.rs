//! Owns: a scripted tracker and the recording of it, for the tests of all that reads recordings.
//! Must not know: what is tested with it.

use std::io::Cursor;
use std::net::IpAddr;
use std::sync::Arc;

use crate::engine::{Capacity, Seed, Tracker};
use crate::model::event::{Comm, Conn, Errno, Event, Kind, Loss, Process, Reason, Role, Substate, Via};
use crate::model::identity::{Identity, Names, Naming, container_of};
use crate::model::settings::Settings;
use crate::recording::{Command, Encoder, Ending, Exit, Head, Namespace, Recording, Stop, Tail, Usage};

const SECOND_NS: u64 = 1_000_000_000;
/// CLOCK_MONOTONIC at the start.
pub(crate) const START_NS: u64 = 100 * SECOND_NS + 7;
/// 2026-11-22T16:05:09Z
const WALL_NS: i64 = 1_795_363_509_000_000_000;
pub(crate) const NETNS: u32 = 4_026_531_840;
/// A namespace that is met on the way.
pub(crate) const LATE: u32 = 4_026_532_177;

/// A process and its end of connections.
#[derive(Clone, Copy)]
struct Actor {
    pid: u32,
    name: &'static str,
    role: Role,
    netns: u32,
    saddr: &'static str,
    daddr: &'static str,
    port: u16,
    container: bool,
}

const APP: Actor = Actor {
    pid: 4_194_301,
    name: "php-fpm",
    role: Role::Client,
    netns: NETNS,
    saddr: "10.0.0.1",
    daddr: "10.0.0.9",
    port: 5432,
    container: true,
};
const ACTORS: [Actor; 5] = [
    APP,
    Actor {
        pid: 13,
        name: "nginx: worker",
        role: Role::Server,
        daddr: "10.0.0.7",
        port: 80,
        container: false,
        ..APP
    },
    Actor {
        pid: 101,
        name: "\x1b[2J<script>\u{202e}",
        saddr: "2001:db8:1111:2222:3333:4444:5555:6666",
        daddr: "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
        port: 443,
        container: false,
        ..APP
    },
    Actor {
        pid: 7,
        name: "curl",
        netns: LATE,
        daddr: "192.168.101.102",
        port: 58_443,
        container: false,
        ..APP
    },
    Actor { pid: 8, name: "curl", daddr: "10.0.0.8", port: 5432, container: false, ..APP },
];

impl Actor {
    fn conn(&self, n: u16) -> Conn {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (ephemeral, saddr, daddr) = (40_000 + n % 120, address(self.saddr), address(self.daddr));
        let (sport, dport) =
            if self.role == Role::Server { (self.port, ephemeral) } else { (ephemeral, self.port) };
        // A server has clients.
        let daddr = match (self.role, daddr) {
            (Role::Server, IpAddr::V4(v4)) => IpAddr::from((u32::from(v4) + u32::from(n % 3)).to_be_bytes()),
            _ => daddr,
        };
        Conn { netns: self.netns, ifindex: 0, saddr, daddr, sport, dport }
    }

    fn event(&self, kind: Kind, mono_ns: u64, conn: Conn) -> Event {
        let mut event = Event::new(kind, mono_ns, Some(conn));
        if kind == Kind::Ended {
            return event;
        }
        let comm = Comm::new(self.name);
        event.owner =
            Some(Process { pid: self.pid, tid: self.pid, uid: 33, cgroup_id: 5, start_ns: 1_000, comm });
        let cgroup = if self.container {
            format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4))
        } else {
            format!("/system.slice/{}.service", self.pid)
        };
        let container = container_of(&cgroup);
        let exe = Some(format!("/usr/bin/{}</script>", self.pid));
        event.identity = Some(Arc::new(Identity {
            exe,
            cgroup: Some(cgroup),
            container,
            names: if self.container { called(mono_ns) } else { Naming::default() },
            ..Identity::default()
        }));
        if matches!(kind, Kind::ConnectFailed | Kind::BindFailed) {
            event.errno = Some(if kind == Kind::BindFailed { Errno::AddrInUse } else { Errno::AddrNotAvail });
            // As the kernel side says it, and no recording.
            event.role = if kind == Kind::ConnectFailed { Role::Client } else { Role::Unknown };
            return event;
        }
        event.role = self.role;
        event.via = Some(if self.pid == 101 { Via::Exit } else { Via::Close });
        (event.age_ns, event.bytes_sent) = (Some(mono_ns % 7_000_003), Some(mono_ns % 1009));
        event.bytes_received = Some(mono_ns % 70_001);
        event
    }
}

/// What the runtime calls the container, a moment after it was met. Whoever named the pod meant no good.
fn called(mono_ns: u64) -> Naming {
    if mono_ns < START_NS + SECOND_NS / 7 {
        return Naming::default();
    }
    let some = |text: &str| Some(text.to_owned());
    let names = Names {
        name: some("checkout"),
        image: some("shop/checkout:17"),
        pod: some("checkout-7d\x1b</td>"),
        pod_namespace: some("shop"),
    };
    names.into()
}

/// A tracker that is told events by a fixed rule.
struct Script {
    state: u64,
    now_ns: u64,
    tracker: Tracker,
    live: Vec<(Actor, Conn)>,
    events: Vec<Event>,
}

impl Script {
    /// Numbers that look like chance and are always the same (xorshift64).
    fn chance(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn tell(&mut self, mut event: Event) {
        let applied = self.tracker.apply(&mut event);
        self.events.extend(applied.before);
        self.events.push(event);
    }

    fn step(&mut self) {
        self.now_ns += self.chance(21) * 1_000_003;
        let actor = ACTORS[self.chance(ACTORS.len() as u64) as usize];
        let now_ns = self.now_ns;
        match self.chance(100) {
            0..=54 => {
                let n = self.chance(120) as u16;
                let conn = actor.conn(n);
                if self.tracker.knows(&conn) {
                    return;
                }
                let mut event = actor.event(Kind::Created, now_ns, conn);
                event.substate =
                    Some(if n.is_multiple_of(7) { Substate::FinWait2 } else { Substate::TimeWait });
                (event.timeout_ms, event.cookie) = (Some(60_000), Some(now_ns));
                self.live.push((actor, conn));
                self.tell(event);
            }
            55..=92 if !self.live.is_empty() => {
                let at = self.chance(self.live.len() as u64) as usize;
                let (actor, conn) = self.live.swap_remove(at);
                let mut event = actor.event(Kind::Ended, now_ns, conn);
                event.substate = Some(Substate::TimeWait);
                event.reason = Some(Reason::ALL[self.chance(5) as usize]);
                self.tell(event);
            }
            93..=95 => self.tell(actor.event(Kind::ConnectFailed, now_ns, Conn { sport: 0, ..APP.conn(0) })),
            96 => self.tell(actor.event(
                Kind::BindFailed,
                now_ns,
                Conn { sport: 8080, dport: 0, ..APP.conn(0) },
            )),
            97..=98 => {
                let conn = actor.conn(3);
                self.tell(actor.event(Kind::Overflow, now_ns, conn));
            }
            // The end of a socket that nobody saw born.
            99 => {
                let mut event =
                    actor.event(Kind::Ended, now_ns, Conn { sport: 1, dport: 2, ..actor.conn(0) });
                event.reason = Some(Reason::Reset);
                self.tell(event);
            }
            _ => {}
        }
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        port_range: Some((40_000, 40_099)),
        reserved: vec![(40_007, 40_007)],
        tw_reuse: Some(2),
        tw_reuse_delay_ms: None,
        max_tw_buckets: Some(1009),
        timestamps: Some(1),
        rfc1337: Some(0),
        fin_timeout_s: Some(60),
        ..Settings::default()
    }
}

/// What was recorded, and the tracker at its end.
pub(crate) struct Sample {
    pub(crate) head: Head,
    /// What was there before, as `listed` events.
    pub(crate) listed: Vec<Event>,
    pub(crate) events: Vec<Event>,
    pub(crate) tail: Tail,
    pub(crate) tracker: Tracker,
}

/// What the namespace allows.
fn capacity() -> Capacity {
    Capacity { name: None, settings: settings().counted().unwrap() }
}

/// A sample of `steps` steps.
pub(crate) fn sample(steps: usize) -> Sample {
    let mut tracker = Tracker::new();
    tracker.advance(START_NS);
    tracker.set_capacity(NETNS, capacity());
    let mut script = Script {
        state: 0x2545_f491_4f6c_dd1d,
        now_ns: START_NS,
        tracker,
        live: Vec::new(),
        events: Vec::new(),
    };
    // Those that were there before hold ports that nobody else uses.
    let seeds: Vec<Seed> = (0..11_u16)
        .map(|n| {
            let actor = ACTORS[usize::from(n % 2)];
            let mut conn = actor.conn(0);
            *(if n % 2 == 0 { &mut conn.sport } else { &mut conn.dport }) = 40_080 + n;
            script.live.push((actor, Conn { saddr: "10.0.0.3".parse().unwrap(), ..conn }));
            let conn = script.live[usize::from(n)].1;
            let role = if n % 2 == 0 { Role::Unknown } else { Role::Server };
            Seed {
                conn,
                cookie: None,
                substate: Substate::TimeWait,
                role,
                ends_ns: START_NS + 60 * SECOND_NS,
            }
        })
        .collect();
    let mut listed: Vec<Event> = seeds.iter().map(|seed| seed.event(START_NS)).collect();
    for event in &mut listed {
        script.tracker.apply(event);
    }
    (0..steps).for_each(|_| script.step());
    let mut lost = Event::new(Kind::Lost, script.now_ns, None);
    let loss = Loss { created: 2, ended: 1, missed_runs: 3, ..Loss::default() };
    lost.loss = Some(Box::new(loss));
    script.tell(lost);
    let end_ns = script.now_ns + 1_500_000_000;
    script.tracker.advance(end_ns);
    let (live, events) = (script.tracker.live() as u64, script.events.len() as u64);
    let usage = Usage { user_us: 1_500_000, system_us: 700_000, max_rss_kib: 20_011, ..Usage::default() };
    let tail = Tail {
        mono_ns: end_ns,
        wall_ns: WALL_NS + (end_ns - START_NS) as i64,
        stop: Stop::Command,
        command: Some(Ending { exit: Exit::Status(3), usage }),
        namespaces: vec![namespace(NETNS), namespace(LATE)],
        lost: loss,
        limitations: Vec::new(),
        events,
        live,
        lists: None,
    };
    Sample { head: head(), listed, events: script.events, tail, tracker: script.tracker }
}

fn namespace(netns: u32) -> Namespace {
    Namespace {
        netns,
        name: (netns == LATE).then(|| "blue".to_owned()),
        sysctls: Some(settings()),
        counters: None,
    }
}

fn head() -> Head {
    Head {
        twtrace: "0.1.0".to_owned(),
        host: "web-1".to_owned(),
        kernel: "6.18.5".to_owned(),
        boot_id: "0a1b2c3d-0000-1111-2222-333344445555".to_owned(),
        mono_ns: START_NS,
        wall_ns: WALL_NS,
        backend: "tracepoint".to_owned(),
        filters: vec!["--netns self".to_owned()],
        command: Some(Command {
            argv: ["ab", "-n", "20000", "http://10.0.0.9/<b>"].map(str::to_owned).to_vec(),
            uid: 1000,
        }),
        namespaces: vec![namespace(NETNS)],
        ..Head::default()
    }
}

impl Sample {
    /// The bytes of its recording, in batches of `batch` events, with its end or without.
    pub(crate) fn bytes(&self, batch: usize, is_complete: bool) -> Vec<u8> {
        let mut encoder = Encoder::new(&self.head).unwrap();
        self.listed.iter().for_each(|event| encoder.append(event));
        encoder.close_batch().unwrap();
        encoder.met(&[Namespace { sysctls: None, ..namespace(LATE) }]).unwrap();
        for events in self.events.chunks(batch) {
            events.iter().for_each(|event| encoder.append(event));
            encoder.close_batch().unwrap();
        }
        if is_complete {
            encoder.finish(&self.tail).unwrap();
        }
        std::mem::take(encoder.bytes())
    }

    /// The recording.
    pub(crate) fn recording(&self) -> Recording {
        Recording::read(Cursor::new(self.bytes(97, true)), "sample.twt").unwrap()
    }
}
