//! Owns: running `twtrace doctor` beside a load.
//! Must not know: what it should say, any particular scenario.

use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::diagnosis::{Diagnosis, Finding};
use crate::sandbox::Sandbox;
use crate::tracer::{Setup, Tracer};

/// Runs `load` with the doctor looking on, with these arguments besides. A recording is made beside it, and what the doctor finds in that
/// must agree.
pub(super) fn examine_with<T>(
    sandbox: &mut Sandbox,
    args: &[&str],
    load: impl FnOnce(&mut Sandbox) -> Result<T>,
) -> Result<(Diagnosis, T)> {
    let (live, _, loaded) = examine_both(sandbox, args, load)?;
    Ok((live, loaded))
}

fn examine_both<T>(
    sandbox: &mut Sandbox,
    args: &[&str],
    load: impl FnOnce(&mut Sandbox) -> Result<T>,
) -> Result<(Diagnosis, Diagnosis, T)> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = dir.path().join("recording");
    let path = file.to_string_lossy();
    let what = ["--netns", "self", "--failures", "all", "-o", &path];
    let recorder = Tracer::start_command(&sandbox.setup, "record", &what)?;
    let mut all = vec!["--json", "--netns", "self", "--duration", "180s"];
    all.extend(args);
    let doctor = Tracer::start_command(&sandbox.setup, "doctor", &all)?;
    let loaded = load(sandbox)?;
    let told = doctor.stop(Signal::SIGINT)?;
    // What it sees here is for the diagnosis alone to tell.
    sandbox.balanced();
    let live = Diagnosis::of(&told)?;
    let told = recorder.stop(Signal::SIGINT)?;
    ensure!(told.status.success(), "record ended with {}: {}", told.status, told.stderr);
    let mut doctor = Command::new(&sandbox.setup.twtrace);
    let output = doctor.arg("doctor").arg(&file).arg("--json").args(args).output()?;
    ensure!(output.status.success(), "doctor FILE: {}", String::from_utf8_lossy(&output.stderr));
    let recorded = Diagnosis::read(&String::from_utf8(output.stdout)?)?;
    recorded.agrees_with(&live)?;
    Ok((live, recorded, loaded))
}

/// How long the doctor looks at most where nobody says so.
const MOST_MS: u64 = 10_000;

/// As [`examine_with`], where nobody says how long to look: it ends by itself, as soon as the case is clear.
pub(super) fn examine_until_clear(
    sandbox: &mut Sandbox,
    load: impl FnOnce(&mut Sandbox) -> Result<()>,
) -> Result<Diagnosis> {
    let doctor = Tracer::start_command(&sandbox.setup, "doctor", &["--json", "--netns", "self"])?;
    load(sandbox)?;
    let told = doctor.finish()?;
    sandbox.balanced();
    let diagnosis = Diagnosis::of(&told)?;
    let (early, watched_ms) = (diagnosis.stopped_early()?, diagnosis.observed_ms()?);
    // A machine that stands still for seconds has no time for enough looks.
    ensure!(early || watched_ms >= MOST_MS, "after {watched_ms} ms, and it is not said why");
    println!("    looked for {watched_ms} ms, stopped early: {early}");
    Ok(diagnosis)
}

/// As [`examine_with`], without arguments; the one finding must be `id`.
pub(super) fn examine(
    sandbox: &mut Sandbox,
    id: &str,
    load: impl FnOnce(&mut Sandbox) -> Result<()>,
) -> Result<Finding> {
    examine_with(sandbox, &[], load)?.0.only(id)
}

/// As [`examine_with`]: gives what the doctor finds in the recording as well.
pub(super) fn examine_twice(
    sandbox: &mut Sandbox,
    load: impl FnOnce(&mut Sandbox) -> Result<()>,
) -> Result<(Diagnosis, Diagnosis)> {
    let (live, recorded, ()) = examine_both(sandbox, &[], load)?;
    Ok((live, recorded))
}

/// Runs `load` with a doctor looking on that `start` starts.
pub(super) fn diagnose_with(
    sandbox: &mut Sandbox,
    start: impl FnOnce(&Setup) -> Result<Tracer>,
    load: impl FnOnce(&mut Sandbox) -> Result<()>,
) -> Result<Diagnosis> {
    let doctor = start(&sandbox.setup)?;
    load(sandbox)?;
    let told = doctor.stop(Signal::SIGINT)?;
    sandbox.balanced();
    Diagnosis::of(&told)
}
