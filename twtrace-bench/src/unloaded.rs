//! What is measured without a load: each tracer on a machine on which nothing happens, what the live view costs, and what it costs to report a
//! large recording.
//!
//! Owns: these measurements. Must not know: what tracers do then, how a frame is drawn or a report is made.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use twtrace_kit::command;
use twtrace_kit::wait::{PATIENCE, pass, until_true};

use crate::arms::{Heard, Running, Tools};
use crate::bench::Bench;
use crate::generator::First;
use crate::model::{Arm, Idle};
use crate::plan::Plan;
use crate::process;
use crate::site::{self, ALL_PORTS, Made, Owners, Site};

/// An idle machine, with those tracers that are processes.
pub(crate) fn idle(bench: &mut Bench) -> Result<()> {
    let netns = site::enter(ALL_PORTS.0, ALL_PORTS.1)?;
    let arms = [Arm::Events, Arm::Live, Arm::Record, Arm::Tcpstates, Arm::Tcplife, Arm::Bpftrace];
    for arm in bench.available(&arms) {
        let done = idle_of(bench, arm, netns);
        if let Some(idle) = bench.report.case(&format!("idle::{}", arm.name().replace(' ', "-")), done)? {
            bench.report.progress(&format!("idle: {}: {:.2} % of a core", arm.name(), idle.cpu_percent));
            bench.results.idle.push(idle);
        }
    }
    Ok(())
}

fn idle_of(bench: &Bench, arm: Arm, netns: u32) -> Result<Idle> {
    let running = Running::start(arm, &bench.tools)?;
    let pid = running.pid().context("no process")?;
    let (took_s, cpu_s, sleeps) = watch(pid, &bench.plan)?;
    let made = Made { count: 0, elapsed_s: took_s, connect: None, owners: Owners::AnyOf(Vec::new()) };
    let site = Site { netns, port: 1, first: First::Client };
    running.stop(&Heard { site, made: &made, created: Some(0) })?;
    Ok(Idle { arm, cpu_percent: cpu_s / took_s * 100.0, wakeups: sleeps as f64 / took_s })
}

/// For how many seconds a program that has just started was watched, the CPU time that it took, and how often its threads slept.
fn watch(pid: u32, plan: &Plan) -> Result<(f64, f64, u64)> {
    pass(Duration::from_millis(plan.idle_after_ms));
    let (began, cpu_s, sleeps) = (Instant::now(), process::cpu_s(pid)?, process::sleeps(pid)?);
    pass(Duration::from_millis(plan.idle_ms));
    let took_s = began.elapsed().as_secs_f64();
    Ok((took_s, process::cpu_s(pid)? - cpu_s, process::sleeps(pid)?.saturating_sub(sleeps)))
}

/// Runs twtrace's example `frame`, and twtrace on a terminal.
pub(crate) fn screen(bench: &mut Bench, frame: &Path) -> Result<()> {
    let frames = command::read(&mut Command::new(frame)).and_then(|text| parse(&text));
    if let Some(frames) = bench.report.case("screen::frames", frames)? {
        bench.results.screen.extend(frames);
    }
    let idle = idle_screen(&bench.tools, &bench.plan);
    if let Some((percent, wakeups)) = bench.report.case("screen::idle", idle)? {
        let row = |what, number, unit: &str| {
            (format!("{what} of the screen on an idle machine"), number, unit.to_owned())
        };
        bench.results.screen.push(row("CPU", format!("{percent:.2}"), "% of a core"));
        bench.results.screen.push(row("wake-ups", format!("{wakeups:.1}"), "a second"));
    }
    bench.report.progress("screen");
    Ok(())
}

/// `name value unit` a line.
fn parse(text: &str) -> Result<Vec<(String, String, String)>> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let mut words = line.rsplitn(3, ' ').map(str::to_owned);
        let (Some(unit), Some(value), Some(name)) = (words.next(), words.next(), words.next()) else {
            bail!("the example printed `{line}`");
        };
        rows.push((name, value, unit));
    }
    ensure!(!rows.is_empty(), "the example printed nothing");
    Ok(rows)
}

/// CPU time of `twtrace` on a terminal, in percent of one core, and its wake-ups a second.
fn idle_screen(tools: &Tools, plan: &Plan) -> Result<(f64, f64)> {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None)?;
    let dir = tempfile::tempdir()?;
    let ready = dir.path().join("ready");
    let mut command = Command::new(&tools.twtrace);
    command.args(["--backend", &tools.backend, "--ready-file"]).arg(&ready).env("TERM", "xterm-256color");
    command.stdin(Stdio::from(pty.slave.try_clone()?)).stdout(Stdio::from(pty.slave));
    let child = process::start(command.stderr(Stdio::null()))?;
    drop(command);
    // Somebody must read what is drawn, or the terminal is full.
    let mut screen = File::from(pty.master);
    let reader = std::thread::spawn(move || {
        let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
        // A terminal that nobody has open any more says EIO.
        while let Ok(1..) = screen.read(&mut chunk).inspect(|length| all.extend(&chunk[..*length])) {}
        all
    });
    until_true("twtrace to be attached", PATIENCE, || Ok(ready.exists() || child.has_ended()))?;
    ensure!(!child.has_ended(), "twtrace ended before it was attached");
    let (took_s, cpu_s, sleeps) = watch(child.id(), plan)?;
    process::stop(child, Signal::SIGTERM)?;
    let drawn = reader.join().map_err(|_| anyhow!("reading the terminal failed"))?;
    ensure!(String::from_utf8_lossy(&drawn).contains("Processes"), "twtrace drew no screen");
    Ok((cpu_s / took_s * 100.0, sleeps as f64 / took_s))
}

/// Runs twtrace's example `synthetic`, which writes a recording of a busy machine that never was and reports it.
pub(crate) fn reports(bench: &mut Bench, synthetic: &Path) -> Result<()> {
    let events = bench.plan.report_events.to_string();
    let told =
        command::read(Command::new(synthetic).args(["measure", &events])).and_then(|text| parse(&text));
    if let Some(rows) = bench.report.case("reports", told)? {
        bench.results.reports.extend(rows);
    }
    bench.report.progress("reports");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_example_prints_is_taken_apart() {
        let rows = parse("frame of tuples at 80x24 2.26 ms\n").unwrap();
        let want = ["frame of tuples at 80x24", "2.26", "ms"].map(str::to_owned);
        assert_eq!([rows[0].0.clone(), rows[0].1.clone(), rows[0].2.clone()], want);
        assert!(parse("nonsense\n").is_err());
        assert!(parse("").is_err());
    }
}
