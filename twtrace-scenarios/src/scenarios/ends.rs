//! Owns: scenarios about how a trace ends, which signals it hears, and how it sleeps meanwhile.
//! Must not know: the harness.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::kernel;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::readers::{Traffic, read_lines};
use crate::sandbox::Sandbox;
use crate::schema::parse;
use crate::tracer::{Tracer, kind};

/// What nohup(1) does: SIGHUP is ignored from the start. It stays so, for a recorded command as well. What a shell without job
/// control does with `twtrace record … &`: SIGINT is ignored from the start. It ends the trace nevertheless.
pub(super) fn ignored_signals(sandbox: &mut Sandbox) -> Result<()> {
    let ignore = |command: &mut Command| ignoring(command, Signal::SIGHUP);
    let args = ["--json", "--netns", "self"].map(OsStr::new);
    let mut tracer = Tracer::launch_changed(&sandbox.setup, "events", &args, (None, None), ignore)?;
    tracer.ready()?;
    tracer.signal(Signal::SIGHUP)?;
    let made = Traffic::start(7)?.finish()?;
    sandbox.created_untold(made.try_into()?);
    until_true("all to be told", PATIENCE, || Ok(read_lines(&tracer.so_far()?)?.created == made))?;
    let told = tracer.stop(Signal::SIGTERM)?;
    ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = dir.path().join("load.twt");
    let script = "kill -HUP $$; kill -HUP $PPID; exit 4";
    let args =
        ["-o".as_ref(), file.as_os_str(), "--".as_ref(), "sh".as_ref(), "-c".as_ref(), script.as_ref()];
    let told = Tracer::launch_changed(&sandbox.setup, "record", &args, (None, None), ignore)?.finish()?;
    ensure!(told.status.code() == Some(4), "record -- CMD under nohup: {}: {}", told.status, told.stderr);
    let background = |command: &mut Command| ignoring(command, Signal::SIGINT);
    let args = ["-o".as_ref(), file.as_os_str(), "--force".as_ref()];
    let mut tracer = Tracer::launch_changed(&sandbox.setup, "record", &args, (None, None), background)?;
    tracer.ready()?;
    let told = tracer.stop(Signal::SIGINT)?;
    ensure!(told.status.success(), "record in a script's background: {}: {}", told.status, told.stderr);
    let rest = ["--force", "--", "sh", "-c", "kill -INT $$; exit 4"].map(OsStr::new);
    let args = [&["-o".as_ref(), file.as_os_str()][..], &rest].concat();
    let told = Tracer::launch_changed(&sandbox.setup, "record", &args, (None, None), background)?.finish()?;
    ensure!(told.status.code() == Some(128 + 2), "record -- CMD in a script's background: {}", told.status);
    Ok(())
}

/// The command is started with `number` ignored.
fn ignoring(command: &mut Command, number: Signal) {
    // SAFETY: one system call between fork and exec; nothing is allocated, no lock is taken.
    unsafe {
        command.pre_exec(move || {
            signal(number, SigHandler::SigIgn)?;
            Ok(())
        })
    };
}

/// Traces that end by themselves while connections are being made: no birth whose connection was opened and closed while it was
/// traced lacks its owner, and the kernel's counters agree with what was told.
pub(super) fn ends_at_one_moment(sandbox: &mut Sandbox) -> Result<()> {
    // Few enough that those from before are not most of what is told.
    let traffic = Traffic::start_at(u64::MAX, Duration::from_millis(2))?;
    let (mut births, mut nobodys) = (0_u64, Vec::new());
    // Emulated, each takes ten seconds.
    let traces = if kernel::is_emulated() { 3 } else { 20 };
    for _ in 0..traces {
        let args = ["--json", "--netns", "self", "--duration", "300ms", "--verify"];
        let tracer = Tracer::start(&sandbox.setup, &args)?;
        let ready_ns = u64::try_from(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos())?;
        let told = tracer.finish()?;
        ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
        for line in told.stdout.lines().filter(|line| line.contains("\"created\"")) {
            let event = parse(line)?;
            let number = |key: &str| event.get(key).and_then(Value::as_u64);
            let opened_ns = number("mono_ns")
                .zip(number("age_ms"))
                .map(|(mono_ns, age_ms)| mono_ns.saturating_sub((age_ms + 1) * 1_000_000));
            if kind(&event) == "created" && opened_ns.is_some_and(|opened_ns| opened_ns >= ready_ns) {
                births += 1;
                if number("pid").is_none() {
                    nobodys.push(line.to_owned());
                }
            }
        }
    }
    traffic.stop()?;
    ensure!(births > traces, "only {births} births were told");
    if let Some(first) = nobodys.first() {
        sandbox.fail(format!("{} of {births} births have no owner: {first}", nobodys.len()));
    }
    sandbox.balanced();
    Ok(())
}

/// Where nothing happens, an agent sleeps: twice a second it wakes at most, where 0.1 did 55 to 75 times.
pub(super) fn idle_sleeps(sandbox: &mut Sandbox) -> Result<()> {
    const SECONDS: u64 = 2;
    const A_SECOND: u64 = 2;
    // Other namespaces have traffic; this one has none.
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self", "--sport", "1"])?;
    let mut least = u64::MAX;
    // What else this machine does, such as another test that visits all traces, wakes it too: a quiet moment is enough.
    for _ in 0..7 {
        let before = switches(tracer.pid())?;
        // Not a wait: it is what the scenario is about.
        std::thread::sleep(Duration::from_secs(SECONDS));
        let after = switches(tracer.pid())?;
        // A thread that has ended takes along how often it was woken: that moment was not quiet.
        if before.keys().all(|thread| after.contains_key(thread)) {
            let woken = |(thread, count): (&String, &u64)| count - before.get(thread).copied().unwrap_or(0);
            least = least.min(after.iter().map(woken).sum());
        }
        if least <= A_SECOND * SECONDS {
            break;
        }
    }
    tracer.stop(Signal::SIGTERM)?;
    ensure!(least <= A_SECOND * SECONDS, "woken {least} times in {SECONDS} s at the least");
    Ok(())
}

/// How often each thread of a process has gone to sleep.
fn switches(pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // It may end while it is looked at.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let count = line.context("no voluntary_ctxt_switches")?.trim().parse()?;
        all.insert(task.file_name().to_string_lossy().into_owned(), count);
    }
    Ok(all)
}
