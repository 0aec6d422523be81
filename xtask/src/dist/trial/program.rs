//! The program that the packages hold, at work on this machine. It is optimised as a whole, as no program is that other tests run.
//!
//! Owns: what it is told to do. Must not know: the packages.

use super::super::Artefacts;
use super::load::{CONNECTIONS, PATIENCE, attached, can_trace, events, is_ours, load};
use crate::sh;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use std::process::{Command, Stdio};

/// It records a load, and reads from the recording what was made.
pub(super) fn records(made: &Artefacts) -> Result<()> {
    can_trace()?;
    let dir = tempfile::Builder::new().prefix("twtrace-dist-").tempdir()?;
    let [file, ready, stderr] = ["load.twt", "ready", "stderr"].map(|name| dir.path().join(name));
    let binary = made.binary();
    let program = binary.to_str().context("its path is no text")?;
    let mut command = sh::as_root(program)?;
    command.args(["record", "--pid", &std::process::id().to_string(), "--ready-file"]).arg(&ready);
    command.arg("--output").arg(&file).stdin(Stdio::null()).stderr(std::fs::File::create(&stderr)?);
    let mut tracer = sh::guarded(&mut command)?;
    let said = || std::fs::read_to_string(&stderr).unwrap_or_default();
    attached(&tracer, &ready).with_context(said)?;
    load()?;
    let status = tracer.stop(Signal::SIGTERM, PATIENCE).with_context(said)?;
    ensure!(status.success(), "it ended with {status}: {}", said());
    let told = events(&sh::read(
        Command::new(program).args(["export", "--to", "jsonl", "--output", "-"]).arg(&file),
    )?)?;
    let count = told.iter().filter(|event| is_ours(event)).count();
    ensure!(count == CONNECTIONS, "it recorded {count} of {CONNECTIONS}");
    for command in ["report", "doctor", "replay"] {
        sh::read(Command::new(program).args([command, "--json"]).arg(&file))?;
    }
    Ok(())
}
