//! Owns: what happens on a machine on a day, played in a guest and recorded there: what the questions of docs/sql.md are asked of by test.
//! Must not know: the questions, the harness, the recordings' format.
//!
//! It sets the clock and the name of the machine, so it is for a guest that nobody else is in. Recordings leave it by the console, see
//! `xtask/src/vm/console.rs`; the kernel decides which machine it is. Who played this for twtrace/tests/data/guests typed
//! `cargo xtask vm --kernel 6.1 --kernel 6.12 --kernel 7.x --backend auto day_of_a_guest`.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use tempfile::TempDir;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::books;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::until_true;

use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// 27 November 2026, midnight UTC, in seconds since 1970.
const MIDNIGHT: i64 = 1_795_737_600;
/// A container of Docker, by the name of its cgroup.
const CONTAINER: &str = "docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope";
/// The first port of clients whose server closes.
const OTHERS: u16 = 50_021;
/// More than a TIME_WAIT socket lives, on a slow machine.
const LIFE: Duration = Duration::from_secs(100);
/// A line of the console is not longer than so many bytes of a recording.
const LINE: usize = 1024;

/// A recording of it.
struct Part {
    /// Hours after midnight.
    hour: i64,
    made: u16,
    /// connect() that finds no port, once all are taken.
    failed: usize,
    /// Recorded until all of them have ended.
    until_gone: bool,
}

/// A machine.
struct Machine {
    name: &'static str,
    /// Who closes first.
    is_server: bool,
    parts: [Part; 2],
}

const fn part(hour: i64, made: u16, failed: usize, until_gone: bool) -> Part {
    Part { hour, made, failed, until_gone }
}

/// By the beginning of the kernel's release; the last one goes on past midnight.
const MACHINES: [(&str, Machine); 3] = [
    (
        "6.1.",
        Machine { name: "web-1", is_server: false, parts: [part(10, 17, 0, false), part(12, 41, 5, true)] },
    ),
    (
        "6.12.",
        Machine { name: "web-2", is_server: false, parts: [part(10, 13, 0, false), part(11, 7, 3, false)] },
    ),
    ("", Machine { name: "db", is_server: true, parts: [part(10, 11, 0, false), part(25, 2, 0, false)] }),
];

/// Where this machine's recordings are told, a piece a line.
fn tell(name: &str, file: &Path) -> Result<()> {
    let mut console = fs::OpenOptions::new().write(true).open("/dev/console")?;
    for piece in fs::read(file)?.chunks(LINE) {
        let digits: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(console, "\n@@guest file {name} {digits}\n")?;
    }
    Ok(())
}

fn become_machine(machine: &Machine) -> Result<()> {
    let cmdline = fs::read_to_string("/proc/cmdline")?;
    ensure!(cmdline.contains("twtrace.label="), "this sets the clock: it is for guests only");
    unshare(CloneFlags::CLONE_NEWUTS)?;
    fs::write("/proc/sys/kernel/hostname", machine.name)?;
    set_ipv4("tcp_tw_reuse", "0")
}

/// What happens in one recording.
fn act(sandbox: &Sandbox, machine: &Machine, part: &Part, (client, listener): (&Actor, &Raw)) -> Result<()> {
    // So that exactly these are taken.
    set_ipv4("ip_local_port_range", &format!("40000 {}", 39_999 + part.made))?;
    for n in 0..part.made {
        if machine.is_server {
            // Its ports are chosen: connect() may come to one twice, whose SYN takes the server's TIME_WAIT socket away.
            let pair = sandbox.pair_from(([127, 0, 0, 1], OTHERS + n), client, listener)?;
            close_in_order(&pair.server, &pair.client)?;
        } else {
            let pair = sandbox.pair(client, listener)?;
            close_in_order(&pair.client, &pair.server)?;
        }
    }
    until_true("all to be in TIME_WAIT", LIFE, || Ok(books::live("self")? == u64::from(part.made)))?;
    for _ in 0..part.failed {
        let raw = client.socket(false, false)?;
        let errno = raw.connect(listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRNOTAVAIL), "connect with all ports in use: errno {errno:?}");
        raw.close()?;
    }
    if part.until_gone { all_gone() } else { Ok(()) }
}

fn all_gone() -> Result<()> {
    until_true("TIME_WAIT sockets to end", LIFE, || Ok(books::live("self")? == 0))
}

/// Two recordings of the machine that this kernel stands for, hours apart by its clock.
pub(super) fn of_a_guest(sandbox: &mut Sandbox) -> Result<()> {
    let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
    let (_, machine) =
        MACHINES.iter().find(|(series, _)| release.starts_with(series)).context("a machine")?;
    become_machine(machine)?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (server, client) = (sandbox.actor("postgres")?, sandbox.actor("checkout")?);
    let listener = server.listen(([127, 0, 0, 9], 5432))?;
    let cgroup = Path::new("/sys/fs/cgroup").join(CONTAINER);
    fs::create_dir_all(&cgroup)?;
    fs::write(cgroup.join("cgroup.procs"), client.pid().to_string())?;
    let netns = sandbox.netns().to_string();
    for (n, part) in machine.parts.iter().enumerate() {
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(MIDNIGHT + part.hour * 3600, 0))?;
        let file = dir.path().join(format!("{n}.twt"));
        let args = [OsStr::new("--netns"), netns.as_ref(), OsStr::new("-o"), file.as_os_str()];
        let mut tracer = Tracer::record(&sandbox.setup, &args, &[])?;
        tracer.ready()?;
        act(sandbox, machine, part, (&client, &listener))?;
        let ended = tracer.stop(Signal::SIGINT)?;
        if !ended.status.success() {
            bail!("{}: {}", ended.status, ended.stderr);
        }
        tell(&format!("{}.{n}.twt", machine.name), &file)?;
        // The next one begins with nothing.
        all_gone()?;
    }
    sandbox.balanced();
    Ok(())
}
