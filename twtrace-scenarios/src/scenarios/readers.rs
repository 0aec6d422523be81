//! Owns: scenarios about whoever reads what twtrace says: one that is slow, has stopped, or went away; and the traffic meanwhile.
//! Must not know: the harness.

pub(super) mod held;

use std::ffi::OsStr;
use std::fs;
use std::io::{PipeReader, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::termios::{FlowArg, tcflow};
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::child::Guarded;
use twtrace_kit::kernel;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::sandbox::Sandbox;
use crate::schema::parse;
use crate::tracer::{Told, Tracer, kind};

/// Where the connections go.
const PORT: u16 = 10007;
/// Connections to one address; a new one for each has its ports.
const PER_ADDRESS: u64 = 10_007;
/// The number in 127.0.0.0/8 of the next address. Traffic never comes back to one: where most ports of an address are in TIME_WAIT, connect() searches
/// for milliseconds in the kernel, and six thousand connections take a minute.
static NEXT: AtomicU32 = AtomicU32::new(1);
/// More than a pipe and all queues hold, in events.
const PLENTY: u64 = 6007;
/// A trace ends within a second; this leaves a busy machine some room. 0.1 took 28 s, or for ever.
const SLACK: Duration = Duration::from_secs(3);

/// Connections, one after the other, each closed by the client first: one TIME_WAIT socket each.
pub(super) struct Traffic {
    is_over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Traffic {
    /// Makes them until told to stop, or `most` are made.
    pub(super) fn start(most: u64) -> Result<Self> {
        Self::start_at(most, Duration::ZERO)
    }

    /// As [`Self::start`], with a pause after each.
    pub(super) fn start_at(most: u64, pause: Duration) -> Result<Self> {
        set_ipv4("tcp_max_tw_buckets", "1000000")?;
        set_ipv4("tcp_tw_reuse", "0")?;
        let (is_over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&made));
        let thread = std::thread::spawn(move || {
            let mut address = Ipv4Addr::LOCALHOST;
            while !over.load(Ordering::Relaxed) && count.load(Ordering::Relaxed) < most {
                if count.load(Ordering::Relaxed).is_multiple_of(PER_ADDRESS) {
                    address = Ipv4Addr::from(0x7f00_0000 + NEXT.fetch_add(1, Ordering::Relaxed));
                }
                let client = TcpStream::connect((address, PORT))?;
                let (mut server, _) = listener.accept()?;
                drop(client);
                ensure!(server.read(&mut [0])? == 0, "data came where the FIN was due");
                drop(server);
                count.fetch_add(1, Ordering::Relaxed);
                if !pause.is_zero() {
                    // Not a wait: this is how fast they come.
                    std::thread::sleep(pause);
                }
            }
            Ok(())
        });
        Ok(Self { is_over, made, thread })
    }

    /// Stops, and gives how many were made.
    pub(super) fn stop(self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all are made.
    pub(super) fn finish(self) -> Result<u64> {
        self.thread.join().map_err(|_| anyhow!("the traffic panicked"))??;
        Ok(self.made.load(Ordering::Relaxed))
    }
}

/// A pipe with no room.
fn full_pipe() -> Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    let writer = OwnedFd::from(writer);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    loop {
        match nix::unistd::write(&writer, &[b'#'; 4096]) {
            Ok(_) => {}
            Err(Errno::EAGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((reader, writer))
}

/// How long a trace takes to end when everybody reads: on an emulated machine that is much.
pub(super) fn usual_end(sandbox: &Sandbox) -> Result<Duration> {
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    let began = Instant::now();
    tracer.stop(Signal::SIGTERM)?;
    Ok(began.elapsed())
}

/// Ends a trace by a signal, in time.
pub(super) fn stop_in_time(tracer: Tracer, by: Signal, usual: Duration) -> Result<Told> {
    let began = Instant::now();
    let told = tracer.stop(by)?;
    in_time(began, usual, by.as_str())?;
    Ok(told)
}

fn in_time(began: Instant, usual: Duration, what: &str) -> Result<()> {
    let (took, may_take) = (began.elapsed(), usual * 2 + SLACK);
    ensure!(took <= may_take, "{what}: it took {took:?} to end, where {may_take:?} is much");
    Ok(())
}

/// Births, sockets that were there before, ends (a slow machine takes longer than TIME_WAIT), and events that were not written.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) created: u64,
    pub(super) listed: u64,
    pub(super) ended: u64,
    pub(super) unwritten: u64,
}

impl Numbers {
    /// Lines that tell of a socket.
    fn sockets(&self) -> u64 {
        self.created + self.listed + self.ended
    }
}

/// What the summary says.
fn summary(told: &Told) -> Result<Numbers> {
    let line = |start: &str| {
        let line = told.stderr.lines().find_map(|line| line.strip_prefix(start));
        line.with_context(|| format!("no `{start}N` in the summary {:?}", told.stderr))
    };
    let number = |text: &str| -> Result<u64> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    };
    let unwritten = line("lost: ")?.split_once("(unwritten ").map_or(Ok(0), |(_, rest)| number(rest))?;
    let first = line("created: ")?;
    let named = |name: &str| first.split_once(name).map_or(Ok(0), |(_, rest)| number(rest));
    let (listed, ended) = (named("listed: ")?, named("ended: ")?);
    Ok(Numbers { created: number(first)?, listed, ended, unwritten })
}

/// What whole lines say; `lost` lines say what was not written.
pub(super) fn read_lines(text: &str) -> Result<Numbers> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut read = Numbers::default();
    for line in whole.lines() {
        let event = parse(line)?;
        match kind(&event) {
            "created" => read.created += 1,
            "listed" => read.listed += 1,
            "ended" => read.ended += 1,
            "lost" => read.unwritten += event.get("unwritten").and_then(Value::as_u64).unwrap_or(0),
            _ => {}
        }
    }
    Ok(read)
}

/// A reader that takes a hundred thousandth of a second for a byte until it is told that it may hurry.
struct SlowReader {
    text: Arc<Mutex<Vec<u8>>>,
    may_hurry: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl SlowReader {
    fn start(mut pipe: PipeReader) -> Self {
        let (text, may_hurry) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, hurry) = (Arc::clone(&text), Arc::clone(&may_hurry));
        let thread = std::thread::spawn(move || {
            let mut bytes = vec![0; 32 << 10];
            loop {
                let count = pipe.read(&mut bytes)?;
                if count == 0 {
                    return Ok(());
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..count]);
                if !hurry.load(Ordering::Relaxed) {
                    // Not a wait: this is how slow it is.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Self { text, may_hurry, thread }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn rest(self) -> Result<String> {
        self.may_hurry.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the reader panicked"))??;
        let text = std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(String::from_utf8(text)?)
    }
}

/// Every event was either read or counted as not written.
fn account(sandbox: &mut Sandbox, by: &str, read: &Numbers, all: &Numbers) {
    let (seen, unwritten, told) = (read.sockets(), all.unwritten, all.sockets());
    if seen + unwritten != told {
        sandbox.fail(format!("{by}: {seen} were read and {unwritten} not written of {told}"));
    }
}

/// A reader that is slower than the events: losses are told while they happen, a signal ends the trace in time, and every event was
/// either read or counted.
pub(super) fn slow(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    let (pipe, stdout) = std::io::pipe()?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let mut tracer = Tracer::launch_into(&sandbox.setup, &["--json", "--netns", "self"], dir, stdout.into())?;
    tracer.ready()?;
    let reader = SlowReader::start(pipe);
    let traffic = Traffic::start(u64::MAX)?;
    until_true("a loss to be told", PATIENCE, || Ok(read_lines(&reader.so_far())?.unwritten != 0))?;
    let made = traffic.stop()?;
    let told = stop_in_time(tracer, Signal::SIGTERM, usual)?;
    ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
    let (read, all) = (read_lines(&reader.rest()?)?, summary(&told)?);
    let lines_say = read.unwritten;
    ensure!(
        lines_say <= all.unwritten,
        "lines say {lines_say} were not written, the summary {}",
        all.unwritten
    );
    account(sandbox, "SIGTERM", &read, &all);
    ensure!(all.created <= made, "{} births of {made} connections", all.created);
    sandbox.balanced();
    Ok(())
}

/// A trace that began then and has so many seconds, with traffic until it has ended, in time; how many connections were made.
fn until_over(tracer: Tracer, (began, usual): (Instant, Duration), seconds: u64) -> Result<(Told, u64)> {
    let traffic = Traffic::start(u64::MAX)?;
    let told = tracer.finish()?;
    in_time(began, usual + Duration::from_secs(seconds), &format!("--duration {seconds}s"))?;
    Ok((told, traffic.stop()?))
}

/// A reader that never reads: each signal and a duration end the trace in time, and every event lies whole in the pipe or was counted.
pub(super) fn stopped(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    let mut made = 0;
    let ways = [Some(Signal::SIGTERM), None, Some(Signal::SIGINT), Some(Signal::SIGHUP)];
    // What fills a pipe takes an emulated machine half a minute.
    let ways = if kernel::is_emulated() { &ways[..1] } else { &ways[..] };
    for by in ways.iter().copied() {
        let (mut pipe, stdout) = std::io::pipe()?;
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let args = ["--json", "--netns", "self", "--duration", "2s"];
        let args = &args[..if by.is_some() { 3 } else { 5 }];
        let mut tracer = Tracer::launch_into(&sandbox.setup, args, dir, stdout.into())?;
        tracer.ready()?;
        let began = Instant::now();
        let told = match by {
            Some(by) => {
                made += Traffic::start(PLENTY)?.finish()?;
                stop_in_time(tracer, by, usual)?
            }
            None => {
                let (told, while_traced) = until_over(tracer, (began, usual), 2)?;
                made += while_traced;
                told
            }
        };
        ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
        let mut text = String::new();
        pipe.read_to_string(&mut text)?;
        let all = summary(&told)?;
        account(sandbox, by.map_or("--duration", Signal::as_str), &read_lines(&text)?, &all);
        ensure!(all.unwritten != 0, "{by:?}: all of it could be written");
    }
    ensure!(made > (ways.len() as u64 - 1) * PLENTY, "{made}");
    sandbox.balanced();
    Ok(())
}

/// The live view and a replay into a pipe without room: a signal ends them.
pub(super) fn live_view(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    for format in ["--plain", "--json"] {
        let (_reader, full) = full_pipe()?;
        let args = [format, "--interval", "100ms"].map(OsStr::new);
        let ends = (Some(full.into()), None);
        let mut tracer = Tracer::launch_changed(&sandbox.setup, "", &args, ends, |_| ())?;
        tracer.ready()?;
        let told = stop_in_time(tracer, Signal::SIGTERM, usual)?;
        ensure!(told.status.success(), "{format}: {}: {}", told.status, told.stderr);
    }
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = dir.path().join("load.twt");
    let args = ["-o".as_ref(), file.as_os_str(), "--".as_ref(), "true".as_ref()];
    let recorded = Tracer::record(&sandbox.setup, &args, &[])?.finish()?;
    ensure!(recorded.status.success(), "record: {}", recorded.stderr);
    let (_reader, full) = full_pipe()?;
    let mut replay = Command::new(&sandbox.setup.twtrace);
    replay.args(["replay", "--plain", "--interval", "100ms", "--speed", "max"]).arg(&file);
    let mut replay = Guarded::spawn(replay.stdin(Stdio::null()).stdout(full))?;
    until_true("the replay to hear signals", PATIENCE, || hears(replay.id(), Signal::SIGTERM))?;
    let began = Instant::now();
    let status = replay.stop(Signal::SIGTERM, PATIENCE)?;
    in_time(began, usual, "replay")?;
    ensure!(status.success(), "replay: {status}");
    Ok(())
}

/// Whether a process handles a signal.
fn hears(pid: u32, signal: Signal) -> Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("no SigCgt")?;
    Ok(u64::from_str_radix(caught.trim(), 16)? >> (signal as i32 - 1) & 1 != 0)
}

/// The full screen on a terminal that was stopped, as by Ctrl-S: a signal ends it, with 0.
pub(super) fn terminal(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    let pty = nix::pty::openpty(None, None)?;
    let slave = || -> Result<Stdio> { Ok(pty.slave.as_fd().try_clone_to_owned()?.into()) };
    tcflow(&pty.slave, FlowArg::TCOOFF)?;
    let stdin = slave()?;
    let change = |command: &mut Command| {
        command.stdin(stdin).env("TERM", "xterm");
    };
    let mut tracer = Tracer::launch_changed(&sandbox.setup, "", &[], (Some(slave()?), None), change)?;
    tracer.ready()?;
    let traffic = Traffic::start(97)?;
    sandbox.created_untold(traffic.finish()?.try_into()?);
    let told = stop_in_time(tracer, Signal::SIGTERM, usual)?;
    ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
    Ok(())
}

/// stderr that is closed, or that nobody reads: all is told as ever, and a recorded command ends as it does.
pub(super) fn stderr(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    for is_closed in [true, false] {
        let ends = || -> Result<(Option<PipeReader>, OwnedFd)> {
            let (reader, writer) = full_pipe()?;
            Ok((Some(reader).filter(|_| !is_closed), writer))
        };
        let (_kept, writer) = ends()?;
        let args = ["--json", "--netns", "self"].map(OsStr::new);
        let mut tracer =
            Tracer::launch_changed(&sandbox.setup, "events", &args, (None, Some(writer.into())), |_| ())?;
        tracer.ready()?;
        let made = Traffic::start(7)?.finish()?;
        sandbox.created_untold(made.try_into()?);
        let told = stop_in_time(tracer, Signal::SIGTERM, usual)?;
        let created = read_lines(&told.stdout)?.created;
        ensure!(told.status.success() && created == made, "{}: {created} of {made}", told.status);
        let (_kept, writer) = ends()?;
        let file = dir.path().join(format!("{is_closed}.twt"));
        let args =
            ["-o".as_ref(), file.as_os_str(), "--".as_ref(), "sh".as_ref(), "-c".as_ref(), "exit 4".as_ref()];
        let told =
            Tracer::launch_changed(&sandbox.setup, "record", &args, (None, Some(writer.into())), |_| ())?;
        let told = told.finish()?;
        ensure!(told.status.code() == Some(4), "record -- CMD, stderr closed {is_closed}: {}", told.status);
        let report = Command::new(&sandbox.setup.twtrace).arg("report").arg(&file).output()?;
        let missing = String::from_utf8_lossy(&report.stderr).contains("missing");
        ensure!(report.status.success() && !missing, "the recording has no end");
    }
    Ok(())
}
