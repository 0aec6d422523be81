//! `twtrace serve` against its goals: how long a scrape takes and how large it is, what an idle machine costs, and whether scrapes make it
//! lose anything.
//!
//! Owns: this measurement and what it prints. Must not know: what metrics there are, but the two that are checked.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use twtrace_kit::actor::{Actor, close_in_order};
use twtrace_kit::books;
use twtrace_kit::child::Guarded;
use twtrace_kit::http::{Metrics, get_bytes};
use twtrace_kit::netns;
use twtrace_kit::wait::{PATIENCE, pass, until_true};

use crate::generator::{First, Order, Shape};
use crate::loads::TARGETS;
use crate::process;
use crate::site::{self, ALL_PORTS, Counters, Generated, Traffic as _};
use crate::stats::Spread;

/// Where it answers, in a network namespace of its own.
const AT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9478);
/// Programs, each with a destination and a pool of its own: more than the 50 that are told apart.
const OWNERS: u8 = 67;
/// Connections of each.
const EACH: usize = 3;
const PORT: u16 = 10_009;
/// Scrapes of a machine at rest.
const SCRAPES: usize = 101;
/// Between two scrapes: ten a second, and the picture is a new one each time.
const PACE: Duration = Duration::from_millis(100);
/// How long the idle machine is watched.
const IDLE: Duration = Duration::from_secs(30);
/// As Prometheus asks by default in many set-ups.
const USUAL: Duration = Duration::from_secs(15);
/// Connections a second under load, of all generators together, and for how long. Each has a core, as far as there are two, and a network
/// namespace: one alone does not come so far everywhere.
const RATE: u32 = 20_000;
const GENERATORS: usize = 2;
const LOAD_MS: u64 = 10_000;

/// What is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The twtrace to measure
    #[arg(long)]
    twtrace: PathBuf,
    /// How it attaches
    #[arg(long, default_value = "auto")]
    backend: String,
}

/// A `serve` that runs.
struct Served {
    child: Guarded,
    dir: tempfile::TempDir,
}

impl Served {
    fn start(args: &Args, spaces: &[Space]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("twtrace-bench-").tempdir()?;
        let ready = dir.path().join("ready");
        let mut command = Command::new(&args.twtrace);
        command.args(["serve", "--backend", &args.backend]);
        command.args(spaces.iter().flat_map(|(_, netns)| ["--netns".to_owned(), netns.to_string()]));
        command.arg("--ready-file").arg(&ready).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(dir.path().join("errors"))?);
        let served = Self { child: process::start(&mut command)?, dir };
        until_true("serve to be attached", PATIENCE, || Ok(served.child.has_ended() || ready.exists()))?;
        ensure!(!served.child.has_ended(), "serve ended before it was attached: {}", served.errors());
        Ok(served)
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default()
    }
}

/// A network namespace and its inode.
type Space = (File, u32);

/// Network namespaces: where serve answers, and where things happen.
struct Spaces {
    quiet: Space,
    busy: Vec<Space>,
}

impl Spaces {
    fn new() -> Result<Self> {
        let new = || {
            let inode = site::enter(ALL_PORTS.0, ALL_PORTS.1)?;
            Ok((netns::own()?, inode))
        };
        Ok(Self { quiet: new()?, busy: (0..GENERATORS).map(|_| new()).collect::<Result<_>>()? })
    }
}

/// Moves this thread.
fn go((space, _): &Space) -> Result<()> {
    netns::enter(space)
}

/// How long one scrape takes, from connecting to its last byte, in milliseconds, and what it has, compressed, in bytes.
fn scrape() -> Result<(f64, usize)> {
    let began = Instant::now();
    let body = get_bytes(AT, "/metrics", "Accept-Encoding: gzip\r\n")?;
    Ok((began.elapsed().as_secs_f64() * 1e3, body.len()))
}

/// Scrapes ten times a second until it is told to stop, or so many times.
fn scrapes(most: usize, stop: &AtomicBool) -> Result<Vec<(f64, usize)>> {
    let mut all = Vec::new();
    while all.len() < most && !stop.load(Ordering::Relaxed) {
        all.push(scrape()?);
        pass(PACE);
    }
    Ok(all)
}

fn tell(what: &str, scrapes: &[(f64, usize)]) -> Result<()> {
    let ms = Spread::of(scrapes.iter().map(|(ms, _)| *ms)).context("no scrape")?;
    let bytes = scrapes.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    println!(
        "{what}: {} scrapes, median {:.1} ms, three quarters up to {:.1} ms, at most {:.1} ms (goal 20 ms); at most {:.1} KiB compressed (goal 64 KiB)",
        scrapes.len(),
        ms.median,
        ms.high,
        ms.max,
        bytes as f64 / 1024.0
    );
    Ok(())
}

/// Connections of many programs to an address each.
fn owners(netns: u32) -> Result<Vec<Actor>> {
    let server = Actor::start("server", netns)?;
    let listener = server.listen(([0, 0, 0, 0], PORT))?;
    let mut actors = vec![server];
    for n in 0..OWNERS {
        let client = Actor::start(&format!("service-{n}"), netns)?;
        for _ in 0..EACH {
            let from = client.socket(false, false)?;
            let made = from.connect(([127, 0, 1, n + 1], PORT))?;
            let made = made.map_err(|errno| anyhow!("connect: errno {errno}"))?;
            close_in_order(&made, &listener.accept()?)?;
        }
        actors.push(client);
    }
    Ok(actors)
}

/// CPU time of a process while `during` lasts, in percent of a core.
fn cpu_percent(pid: u32, during: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (began, before_s) = (Instant::now(), process::cpu_s(pid)?);
    during()?;
    Ok((process::cpu_s(pid)? - before_s) / began.elapsed().as_secs_f64() * 100.0)
}

fn idle(pid: u32) -> Result<()> {
    let alone = cpu_percent(pid, || {
        pass(IDLE);
        Ok(())
    })?;
    let asked = cpu_percent(pid, || {
        for _ in 0..IDLE.as_secs() / USUAL.as_secs() {
            scrape()?;
            pass(USUAL);
        }
        Ok(())
    })?;
    println!(
        "idle: {alone:.3} % of a core, {asked:.3} % with a scrape every {} s (goal 0.1 %)",
        USUAL.as_secs()
    );
    Ok(())
}

fn resident(when: &str, pid: u32) -> Result<()> {
    let mb = |kib: u64| kib as f64 * 1024.0 / 1e6;
    let (now, most) = (mb(process::rss_kib(pid)?), mb(process::peak_rss_kib(pid)?));
    println!("resident {when}: {now:.1} MB, {most:.1} MB at most since it is attached (goal 40 MB)");
    Ok(())
}

fn live(spaces: &Spaces) -> Result<u64> {
    let mut live = 0;
    for space in &spaces.busy {
        go(space)?;
        live += books::live("thread-self")?;
    }
    go(&spaces.quiet)?;
    Ok(live)
}

/// The cores that this process may run on, by number.
fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect())
}

/// Starts one in each busy namespace, each on a core of its own: it stays on the last that it may have.
fn generators(spaces: &Spaces) -> Result<Vec<Generated>> {
    let shape = Shape { first: First::Server, processes: 1, targets: TARGETS };
    let order = Order { rate: Some(RATE / GENERATORS as u32), for_ms: LOAD_MS };
    let (all, cores) = (sched_getaffinity(Pid::from_raw(0))?, cores()?);
    let mut started = Vec::new();
    for (space, core) in spaces.busy.iter().zip(cores.iter().cycle()) {
        go(space)?;
        let mut only = CpuSet::new();
        only.set(*core)?;
        sched_setaffinity(Pid::from_raw(0), &only)?;
        started.push(Generated::start(space.1, &shape, order)?);
    }
    sched_setaffinity(Pid::from_raw(0), &all)?;
    go(&spaces.quiet)?;
    Ok(started)
}

/// TIME_WAIT sockets that the kernel has created in all busy namespaces; `None` where it does not count that.
fn created(spaces: &Spaces, read: fn() -> Result<Counters>) -> Result<Option<u64>> {
    let mut sum = Some(0);
    for space in &spaces.busy {
        go(space)?;
        sum = sum.zip(read()?.created).map(|(sum, one)| sum + one);
    }
    go(&spaces.quiet)?;
    Ok(sum)
}

/// What serve has counted: created, and lost.
fn counted() -> Result<(u64, u64)> {
    let metrics = Metrics::scrape(AT)?;
    let sum = |name: &str| metrics.sum(name) as u64;
    Ok((sum("twtrace_sockets_created_total"), sum("twtrace_events_lost_total")))
}

/// The load with ten scrapes a second beside it, and what became of it.
fn load(pid: u32, spaces: &Spaces) -> Result<()> {
    let generators = generators(spaces)?;
    let (already, before) = (counted()?, created(spaces, Counters::read)?);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let scraper = std::thread::spawn(move || scrapes(usize::MAX, &stopped));
    let mut speed = 0.0;
    let mut count = 0;
    let cpu = cpu_percent(pid, || {
        let run = |mut one: Generated| std::thread::spawn(move || one.run().map(|made| (one, made)));
        let running: Vec<_> = generators.into_iter().map(run).collect();
        for one in running {
            let (_, made) = one.join().map_err(|_| anyhow!("a generator's thread panicked"))??;
            speed += made.count as f64 / made.elapsed_s;
            count += made.count;
        }
        Ok(())
    })?;
    stop.store(true, Ordering::Relaxed);
    let scraped = scraper.join().map_err(|_| anyhow!("the scraper panicked"))??;
    let after = created(spaces, Counters::settled)?;
    let created = after.zip(before).map_or(count, |(after, before)| after - before);
    let mut told = (0, 0);
    until_true("all to be counted", PATIENCE, || {
        let now = counted()?;
        told = (now.0 - already.0, now.1 - already.1);
        Ok(told.0 + told.1 >= created)
    })?;
    println!(
        "load: {speed:.0} sockets/s for {} s, {created} made, {} told, {} events lost (goal 0); {cpu:.0} % of a core",
        LOAD_MS / 1000,
        told.0,
        told.1
    );
    tell("scrapes under load", &scraped)
}

/// See the head of the file.
pub(crate) fn measure(args: &Args) -> Result<()> {
    let spaces = Spaces::new()?;
    go(&spaces.quiet)?;
    let served = Served::start(args, &spaces.busy)?;
    let pid = served.child.id();
    // What attaching took is given back: from here on the peak is that of the service.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("clear_refs")?;
    println!("machine: load average {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    idle(pid)?;
    resident("when idle", pid)?;
    go(&spaces.busy[0])?;
    let actors = owners(spaces.busy[0].1)?;
    go(&spaces.quiet)?;
    let all = scrapes(SCRAPES, &AtomicBool::new(false))?;
    tell(&format!("scrapes of {OWNERS} owners and pools"), &all)?;
    resident("after them", pid)?;
    load(pid, &spaces)?;
    resident(&format!("with {} sockets alive", live(&spaces)?), pid)?;
    drop(actors);
    let Served { child, dir } = served;
    process::stop(child, Signal::SIGTERM).with_context(|| dir.path().display().to_string())
}
