//! Owns: the scenario in which the doctor looks at a recording.
//! Must not know: the harness, any other scenario.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::netns::set_ipv4;

use super::diagnosis::Diagnosis;
use super::load::{FAILURES, cast};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// The same sandbox as in `doctor_ports_exhausted`, told afterwards.
pub(in crate::scenarios) fn recorded(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(Ipv4Addr::LOCALHOST, 10007)?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = dir.path().join("recording");
    let path = file.to_string_lossy();
    let recorder = Tracer::start_command(&sandbox.setup, "record", &["--netns", "self", "-o", &path])?;
    cast.visit_until_full(&[listener], 1)?;
    let told = recorder.stop(Signal::SIGINT)?;
    ensure!(told.status.success(), "record ended with {}: {}", told.status, told.stderr);
    sandbox.balanced();
    let doctor = |file: &Path, args: &[&str]| {
        Command::new(&sandbox.setup.twtrace).arg("doctor").arg(file).args(args).output()
    };
    let diagnose = |args: &[&str]| doctor(&file, args);
    let output = diagnose(&["--json"])?;
    ensure!(output.status.success(), "doctor: {}", String::from_utf8_lossy(&output.stderr));
    let finding = Diagnosis::read(&String::from_utf8(output.stdout)?)?.only("ports_exhausted")?;
    finding
        .is("critical")?
        .blames("client", cast.client.pid())?
        .shows("ports that connect() can choose from", 60)?
        .shows("of those, in TIME_WAIT", 60)?
        .shows("connect() failures", FAILURES as u64)?;
    let output = diagnose(&["--exit-code"])?;
    ensure!(output.status.code() == Some(3), "--exit-code with a critical finding: {}", output.status);
    let unlisted = "ports of open and bound connections";
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.contains(unlisted), "what was looked at is unknown: {text}");
    // What the kernel's lists showed stands at the end.
    let (cut, whole) = (dir.path().join("cut"), std::fs::read(&file)?);
    std::fs::write(&cut, &whole[..whole.len() - 101])?;
    let text = String::from_utf8(doctor(&cut, &[])?.stdout)?;
    ensure!(text.contains(unlisted), "what is not known is not said: {text}");
    ensure!(text.contains("the end of the recording"), "that it was cut off is not said: {text}");
    Ok(())
}
