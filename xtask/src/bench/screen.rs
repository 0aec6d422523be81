//! What the live view costs: frames of a large world, memory, and CPU on a machine on which nothing happens.
//!
//! Owns: these measurements and their table. Must not know: how a frame is drawn, the load of the other measurements.

use super::tracer::cpu_s;
use crate::{project, sh};
use anyhow::{Context, Result, ensure};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the idle machine is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// How long twtrace may take to attach, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures and prints a table.
///
/// # Errors
/// Where the example cannot be built or twtrace cannot run.
pub(super) fn main(backend: &str) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "--locked", "-p", "twtrace", "--example", "frame"]);
    let frames = sh::read(command.current_dir(project::root()))?;
    let idle = idle_percent(backend)?;
    print!("{}", table(&frames, idle)?);
    Ok(())
}

fn table(frames: &str, idle_percent: f64) -> Result<String> {
    let mut text = String::from("| the live view | |\n|---|---:|\n");
    for line in frames.lines() {
        let mut words = line.rsplitn(3, ' ');
        let (unit, value, name) = (words.next(), words.next(), words.next());
        let (Some(unit), Some(value), Some(name)) = (unit, value, name) else {
            anyhow::bail!("the example `frame` printed `{line}`");
        };
        text += &format!("| {name} | {value} {unit} |\n");
    }
    Ok(text + &format!("| CPU of the screen on an idle machine | {idle_percent:.2} % of a core |\n"))
}

/// CPU time of `twtrace` on a terminal, in percent of one core.
fn idle_percent(backend: &str) -> Result<f64> {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).context("no terminal can be had")?;
    let dir = tempfile::tempdir()?;
    let ready = dir.path().join("ready");
    let mut command = Command::new(project::target_dir().join("release/twtrace"));
    command.args(["--backend", backend, "--ready-file"]).arg(&ready).env("TERM", "xterm-256color");
    command.stdin(Stdio::from(pty.slave.try_clone()?)).stdout(Stdio::from(pty.slave));
    let child = sh::Guarded::spawn(command.stderr(Stdio::null()))?;
    drop(command);
    // Somebody must read what is drawn, or the terminal is full.
    let mut screen = File::from(pty.master);
    let reader = std::thread::spawn(move || {
        let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
        // A terminal that nobody has open any more says EIO.
        while let Ok(1..) = screen.read(&mut chunk).inspect(|length| all.extend(&chunk[..*length])) {}
        all
    });
    sh::until(PATIENCE, "twtrace is attached", || ready.exists() || child.has_ended())?;
    ensure!(!child.has_ended(), "twtrace ended before it was attached");
    let (from, before) = (Instant::now(), cpu_s(child.id())?);
    sh::until(WATCHED + PATIENCE, "a while has passed", || from.elapsed() >= WATCHED)?;
    let (took, used) = (from.elapsed(), cpu_s(child.id())? - before);
    child.signal(Signal::SIGTERM)?;
    let status = child.wait()?;
    ensure!(status.success(), "twtrace failed: {status}");
    let drawn = reader.join().map_err(|_| anyhow::anyhow!("reading the terminal failed"))?;
    let text = String::from_utf8_lossy(&drawn);
    ensure!(text.contains("Processes"), "twtrace drew no screen: {}", sh::tail(&text));
    Ok(used / took.as_secs_f64() * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_example_prints_becomes_a_table() {
        let text = table("frame of tuples at 80x24 2.26 ms\n", 0.5).unwrap();
        assert!(text.contains("| frame of tuples at 80x24 | 2.26 ms |\n"), "{text}");
        assert!(text.ends_with("| CPU of the screen on an idle machine | 0.50 % of a core |\n"), "{text}");
        assert!(table("nonsense\n", 0.5).is_err());
    }
}
