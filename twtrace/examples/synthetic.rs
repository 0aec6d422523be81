//! A recording of a busy machine that never was, and what it costs to report it.
//!
//! `synthetic write EVENTS FILE` writes the recording. `synthetic measure EVENTS` writes one, reports it a few times and prints what that
//! took: lines of a name, a number and a unit. (`synthetic report FILE` is what it runs for that.)
//!
//! Owns: that machine: a proxy and its clients, applications and their databases, everything by a fixed rule.
//! Must not know: how a report is made.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use twtrace::model::event::{Comm, Conn, Event, Kind, Loss, Process, Reason, Role, Substate, Via};
use twtrace::model::identity::{Identity, container_of};
use twtrace::model::settings::Settings;
use twtrace::present::report::text::{Layout, text};
use twtrace::present::report::{By, Options};
use twtrace::recording::{Encoder, Head, Namespace, Recording, Tail};

const NETNS: u32 = 4_026_531_840;
const START_NS: u64 = 1_000_000_000_000;
const WALL_NS: i64 = 1_795_363_509_000_000_000;
/// 20,000 events a second.
const STEP_NS: u64 = 50_000;
/// Two seconds' worth: what is written at a time.
const BATCH: usize = 32_768;
/// How many live at a time.
const LIVE: usize = 25_000;
/// How often a report is measured; the middle one counts.
const ROUNDS: usize = 5;

/// A process, what it deals with, and how many ends it has on the other side.
struct Actor {
    owner: Process,
    identity: Arc<Identity>,
    role: Role,
    here: Ipv4Addr,
    there: Ipv4Addr,
    peers: u32,
    port: u16,
}

fn actor(pid: u32, comm: &str, role: Role, there: Ipv4Addr, peers: u32, port: u16) -> Actor {
    let cgroup = format!("/system.slice/docker-{:064x}.scope", u128::from(pid) << 64);
    let container = container_of(&cgroup);
    let identity = Identity {
        exe: Some(format!("/usr/sbin/{comm}")),
        cmdline: Default::default(),
        cgroup: Some(cgroup),
        container,
        ..Identity::default()
    };
    let owner = Process {
        pid,
        tid: pid,
        uid: 33,
        cgroup_id: pid.into(),
        start_ns: pid.into(),
        comm: Comm::new(comm),
    };
    Actor { owner, identity: Arc::new(identity), role, here: Ipv4Addr::new(10, 0, 0, 1), there, peers, port }
}

fn actors() -> Vec<Actor> {
    let clients = Ipv4Addr::new(172, 16, 0, 0);
    let worker = |pid| actor(pid, "nginx", Role::Server, clients, 20_011, 443);
    let app = |pid, port, last| actor(pid, "php-fpm", Role::Client, Ipv4Addr::new(10, 0, 1, last), 1, port);
    let mut all = vec![worker(101), worker(102), worker(103), worker(104)];
    all.extend((0..29).map(|n| app(200 + n, 5432, (n % 5) as u8)));
    all.extend((0..13).map(|n| app(300 + n, 6379, (n % 3) as u8)));
    all.push(actor(400, "envoy", Role::Client, Ipv4Addr::new(10, 2, 0, 0), 307, 8080));
    all
}

impl Actor {
    fn conn(&self, n: u64) -> Conn {
        let peer = u32::from(self.there) + (n / 7 % u64::from(self.peers)) as u32;
        let ephemeral = 32_768 + (n % 28_232) as u16;
        let (sport, dport) =
            if self.role == Role::Server { (self.port, ephemeral) } else { (ephemeral, self.port) };
        let (saddr, daddr) = (IpAddr::V4(self.here), IpAddr::V4(peer.into()));
        Conn { netns: NETNS, ifindex: 0, saddr, daddr, sport, dport }
    }

    fn created(&self, n: u64, mono_ns: u64) -> Event {
        let mut event = Event::new(Kind::Created, mono_ns, Some(self.conn(n)));
        event.role = self.role;
        (event.substate, event.timeout_ms, event.cookie) = (Some(Substate::TimeWait), Some(60_000), Some(n));
        (event.owner, event.via) = (Some(self.owner), Some(Via::Close));
        event.identity = Some(self.identity.clone());
        event.age_ns = Some(100_000 + n * n % 9_000_011);
        (event.bytes_sent, event.bytes_received) = (Some(200 + n % 4001), Some(1000 + n * n % 70_001));
        event
    }
}

fn ended(created: &Event, mono_ns: u64) -> Event {
    let mut event = created.clone();
    event.kind = Kind::Ended;
    event.lifetime_ns = Some(mono_ns - event.mono_ns);
    event.mono_ns = mono_ns;
    event.reason = Some(if mono_ns % 97 < 5 { Reason::ReusedOutgoing } else { Reason::Expired });
    (event.timeout_ms, event.age_ns, event.bytes_sent, event.bytes_received) = (None, None, None, None);
    event
}

fn namespace() -> Namespace {
    let sysctls = Settings {
        port_range: Some((32_768, 60_999)),
        tw_reuse: Some(2),
        max_tw_buckets: Some(131_072),
        timestamps: Some(1),
        fin_timeout_s: Some(60),
        ..Settings::default()
    };
    Namespace { netns: NETNS, name: None, sysctls: Some(sysctls), counters: None }
}

fn head() -> Head {
    Head {
        twtrace: env!("CARGO_PKG_VERSION").to_owned(),
        host: "synthetic".to_owned(),
        kernel: "6.12".to_owned(),
        boot_id: "synthetic".to_owned(),
        mono_ns: START_NS,
        wall_ns: WALL_NS,
        backend: "fentry".to_owned(),
        namespaces: vec![namespace()],
        ..Head::default()
    }
}

/// The made, event by event.
struct Made {
    actors: Vec<Actor>,
    live: VecDeque<Event>,
}

impl Made {
    fn event(&mut self, n: u64) -> Event {
        let mono_ns = START_NS + n * STEP_NS;
        let is_full = self.live.len() >= LIVE && n.is_multiple_of(2);
        if let Some(oldest) = is_full.then(|| self.live.pop_front()).flatten() {
            return ended(&oldest, mono_ns);
        }
        if n % 10_007 == 3 {
            let mut failed = Event::new(Kind::ConnectFailed, mono_ns, Some(self.actors[5].conn(n)));
            failed.owner = Some(self.actors[5].owner);
            return failed;
        }
        let actor = &self.actors[(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % self.actors.len()];
        let created = actor.created(n, mono_ns);
        self.live.push_back(created.clone());
        created
    }
}

fn write(events: u64, path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let mut encoder = Encoder::new(&head())?;
    let mut made = Made { actors: actors(), live: VecDeque::new() };
    for n in 0..events {
        encoder.append(&made.event(n));
        if encoder.waiting() == BATCH {
            encoder.close_batch()?;
            file.write_all(encoder.bytes())?;
            encoder.bytes().clear();
        }
    }
    let tail = Tail {
        mono_ns: START_NS + events * STEP_NS,
        wall_ns: WALL_NS + (events * STEP_NS) as i64,
        namespaces: vec![namespace()],
        lost: Loss::default(),
        live: made.live.len() as u64,
        ..Tail::default()
    };
    encoder.finish(&tail)?;
    file.write_all(encoder.bytes())?;
    Ok(())
}

fn report(path: &Path) -> Result<()> {
    let options = Options { by: By::ALL.to_vec(), ..Options::default() };
    let report = twtrace::present::report::read(Recording::open(path)?, &options)?;
    let layout = Layout {
        wide: true,
        most: 20,
        timeline: false,
        columns: None,
        paint: twtrace::output::paint::Paint::NONE,
    };
    std::io::stdout().write_all(text(&report, layout, &jiff::tz::TimeZone::UTC).as_bytes())?;
    Ok(())
}

/// In processes of their own, so that memory is that of a report and of nothing else.
fn measure(events: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("synthetic.twt");
    let own = std::env::current_exe()?;
    let run = |args: &[&std::ffi::OsStr]| -> Result<f64> {
        let began = Instant::now();
        let status = Command::new(&own).args(args).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{args:?}: {status}");
        Ok(began.elapsed().as_secs_f64())
    };
    write(events, &path)?;
    println!("size of an event on disk {:.1} bytes", std::fs::metadata(&path)?.len() as f64 / events as f64);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(run(&["report".as_ref(), path.as_os_str()])?);
    }
    times.sort_by(f64::total_cmp);
    let peak_kib = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("report of {events} events {:.2} s", times[ROUNDS / 2]);
    println!("peak memory of that report {:.0} MB", peak_kib as f64 * 1024.0 / 1e6);
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("{text} is no number of events"));
    match args[..] {
        ["write", events, path] => write(number(events)?, Path::new(path)),
        ["measure", events] => measure(number(events)?),
        ["report", path] => report(Path::new(path)),
        _ => bail!("usage: synthetic write EVENTS FILE | measure EVENTS | report FILE"),
    }
}
