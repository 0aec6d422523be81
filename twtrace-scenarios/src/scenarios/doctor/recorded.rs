//! Owns: the scenario in which the doctor looks at a recording, and whether what it finds in one agrees with what it found live.
//! Must not know: the harness, any other scenario.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::netns::set_ipv4;

use super::exam::Diagnosis;
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

impl Diagnosis {
    /// What a recording says of a case must be what the live doctor says; and it may not print a command: that would change the machine of
    /// whoever reads it.
    pub(super) fn agrees_with(&self, live: &Self) -> Result<()> {
        let (told, seen) = (self.findings()?, live.findings()?);
        for finding in told {
            let remedies = finding["remedies"].as_array().into_iter().flatten();
            let commands: Vec<&Value> = remedies.filter_map(|remedy| remedy.get("command")).collect();
            ensure!(commands.is_empty(), "a recording's reader is told to type {commands:?}");
            let is_known = seen.iter().any(|other| about(other) == about(finding));
            ensure!(
                is_known,
                "of the recording alone: {}; {} live: {}",
                finding["what"],
                self.said(),
                live.said()
            );
        }
        for finding in seen {
            let is_told = told.iter().any(|other| about(other) == about(finding));
            ensure!(is_told, "not of the recording: {}; the recording: {}", finding["what"], self.said());
        }
        Ok(())
    }
}

/// What a finding is, where, and whose. The file of a program that ends at once is read in time by one of the two and not by the other.
fn about(finding: &Value) -> [Value; 8] {
    let [id, severity, netns, sport, daddr, dport] =
        ["id", "severity", "netns", "sport", "daddr", "dport"].map(|key| finding[key].clone());
    let process = &finding["who"][0]["process"];
    [id, severity, netns, sport, daddr, dport, process["comm"].clone(), process["pid"].clone()]
}
