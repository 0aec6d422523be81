//! A tracer under measurement: started, waited for, loaded, stopped, and its bill read from /proc.
//!
//! Owns: what is measured and how. Must not know: how the load is made.

use super::table::{Sample, Traced};
use crate::sh;
use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a tracer may take to attach, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The fields of twtrace's events that count here.
#[derive(Deserialize)]
struct Event<'a> {
    event: &'a str,
    count: Option<u64>,
}

/// Measures `twtrace events --json` with its output going to a file.
///
/// # Errors
/// Where it does not attach, fails, or prints what is no event.
pub(super) fn twtrace(program: &Path, backend: &str, load: impl Fn() -> Result<f64>) -> Result<Sample> {
    let dir = tempfile::tempdir()?;
    let (out, ready) = (dir.path().join("events.jsonl"), dir.path().join("ready"));
    let mut command = Command::new(program);
    command.args(["events", "--json", "--backend", backend, "--ready-file"]).arg(&ready);
    command.stdin(Stdio::null()).stdout(File::create(&out)?);
    let (speed, bill) = run(&mut command, || ready.exists(), load)?;
    let (mut events, mut lost) = (0, 0);
    for line in BufReader::new(File::open(&out)?).lines() {
        let line = line?;
        let event: Event =
            serde_json::from_str(&line).with_context(|| format!("twtrace printed `{line}`"))?;
        match event.event {
            "lost" => lost += event.count.unwrap_or(1),
            _ => events += 1,
        }
    }
    ensure!(events > 0, "twtrace saw no event");
    Ok(Sample { speed, traced: Some(bill.with(events, std::fs::metadata(&out)?.len(), lost)) })
}

/// Measures `tcpstates` of libbpf-tools with its output going to a file.
///
/// # Errors
/// Where it does not start or fails.
pub(super) fn tcpstates(load: impl Fn() -> Result<f64>) -> Result<Sample> {
    let dir = tempfile::tempdir()?;
    let (out, errors) = (dir.path().join("out"), dir.path().join("err"));
    let program = sh::which("tcpstates").ok_or_else(|| anyhow!("no tcpstates"))?;
    // It buffers what goes to a file; a line at a time is what a user who reads along would have.
    let mut command = Command::new("stdbuf");
    command.arg("-oL").arg(program);
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&errors)?);
    // It has no ready file, but prints its heading once it is attached.
    let (speed, bill) = run(&mut command, || std::fs::metadata(&out).is_ok_and(|file| file.len() > 0), load)?;
    let lines = BufReader::new(File::open(&out)?).lines().count() as u64;
    let lost = std::fs::read_to_string(&errors)?.lines().map(lost_events).sum();
    Ok(Sample {
        speed,
        traced: Some(bill.with(lines.saturating_sub(1), std::fs::metadata(&out)?.len(), lost)),
    })
}

/// The number in libbpf-tools' `lost 7 events on CPU #1`.
fn lost_events(line: &str) -> u64 {
    let rest = line.split_once("lost ").map_or("", |(_, rest)| rest).to_lowercase();
    rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What a tracer cost, without what it produced.
struct Bill {
    attach_ms: f64,
    cpu_s: f64,
    peak_rss_kib: u64,
}

impl Bill {
    fn with(self, events: u64, bytes: u64, lost: u64) -> Traced {
        let Bill { attach_ms, cpu_s, peak_rss_kib } = self;
        Traced { attach_ms, cpu_s, peak_rss_kib, events, bytes, lost }
    }
}

fn run(
    command: &mut Command,
    ready: impl Fn() -> bool,
    load: impl Fn() -> Result<f64>,
) -> Result<(f64, Bill)> {
    let name = sh::shown(command);
    let started = Instant::now();
    let child = sh::Guarded::spawn(command)?;
    sh::until(PATIENCE, &format!("`{name}` is attached"), || ready() || child.has_ended())?;
    ensure!(!child.has_ended(), "`{name}` ended before it was attached");
    let attach_ms = started.elapsed().as_secs_f64() * 1e3;
    let before = cpu_s(child.id())?;
    let speed = load()?;
    // What is still in its buffers belongs to the bill too, so the interrupt comes first and the reading last: a
    // process that has ended and was not waited for keeps its times, but has no memory any more.
    let peak_rss_kib = peak_rss_kib(child.id())?;
    child.signal(Signal::SIGINT)?;
    sh::until(PATIENCE, &format!("`{name}` has ended"), || is_zombie(child.id()))?;
    let cpu_s = cpu_s(child.id())? - before;
    let status = child.wait()?;
    let interrupted = std::os::unix::process::ExitStatusExt::signal(&status) == Some(Signal::SIGINT as i32);
    ensure!(status.success() || interrupted, "`{name}` failed: {status}");
    Ok((speed, Bill { attach_ms, cpu_s, peak_rss_kib }))
}

/// The fields of /proc/PID/stat from the state on, which is field 3: the name before it may hold anything.
fn stat(pid: u32) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').ok_or_else(|| anyhow!("/proc/{pid}/stat is `{text}`"))?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_ok_and(|fields| fields.first().is_some_and(|state| state == "Z"))
}

/// Time in user mode (field 14) and in the kernel (15), in seconds.
pub(super) fn cpu_s(pid: u32) -> Result<f64> {
    let fields = stat(pid)?;
    let ticks = |field: usize| -> Result<f64> { Ok(fields.get(field - 3).context("a short stat")?.parse()?) };
    let hertz = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok((ticks(14)? + ticks(15)?) / hertz as f64)
}

fn peak_rss_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| anyhow!("/proc/{pid}/status has no VmHWM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_billed_for_what_it_used() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; trap 'exit 0' INT; : > \"$0\"; \
                    while :; do i=$((i+1)); done";
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let mut command = Command::new("sh");
        command.args(["-c", busy]).arg(&ready);
        let pause = || {
            let from = Instant::now();
            sh::until(PATIENCE, "a while has passed", || from.elapsed() > Duration::from_millis(300))?;
            Ok(7.0)
        };
        let (speed, bill) = run(&mut command, || ready.exists(), pause).unwrap();
        assert!((speed - 7.0).abs() < f64::EPSILON);
        assert!(bill.cpu_s > 0.0 && bill.attach_ms > 0.0 && bill.peak_rss_kib > 100, "{}", bill.cpu_s);
    }

    #[test]
    fn a_tracer_that_ends_early_is_an_error() {
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", "exit 77"]), || false, || Ok(1.0)).err().unwrap();
        assert!(error.to_string().contains("ended before"), "{error}");
    }

    #[test]
    fn lost_events_are_read() {
        assert_eq!(lost_events("lost 17 events on CPU #1"), 17);
        assert_eq!(lost_events("all is well"), 0);
    }
}
