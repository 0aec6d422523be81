//! Owns: scenarios about twtrace as a command: how it starts, refuses, writes and ends.
//! Must not know: the harness.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::actor::close_in_order;
use twtrace_kit::wait::{PATIENCE, until_true};
use twtrace_kit::{bpf, kernel};

use super::by_client;
use super::surroundings::copy_for_all;
use crate::sandbox::Sandbox;
use crate::tracer::{Told, Tracer, within};

/// nobody.
const NOBODY: u32 = 65534;

/// Makes `count` TIME_WAITs that are expected to be told.
fn make(sandbox: &mut Sandbox, count: usize) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..count {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    sandbox.settle()
}

fn judge_all(sandbox: &mut Sandbox, told: &Told) -> Result<()> {
    let expected = sandbox.expected().to_vec();
    sandbox.judge(told, &expected)
}

/// Mistakes on the command line: 2, the value is named, nothing on stdout.
pub(super) fn wrong_usage(sandbox: &mut Sandbox) -> Result<()> {
    for (args, named) in [
        (["--no-such-flag", "7"], "--no-such-flag"),
        (["--dport", "65536"], "65536"),
        (["--peer", "10.0.0.0/33"], "10.0.0.0/33"),
        (["--backend", "sorcery"], "sorcery"),
        (["--role", "waiter"], "waiter"),
        (["--reason", "boredom"], "boredom"),
        (["--duration", "soon"], "soon"),
        (["--netns", "/no/such/namespace"], "/no/such/namespace"),
    ] {
        let output = Command::new(&sandbox.setup.twtrace).arg("events").args(args).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(2) || !stderr.contains(named) || !output.stdout.is_empty() {
            sandbox.fail(format!("{args:?}: {}, stderr {stderr:?}", output.status));
        }
    }
    Ok(())
}

/// An ordinary user: 77, a line with the reason and a line with the remedy.
pub(super) fn without_privilege(sandbox: &mut Sandbox) -> Result<()> {
    // Where the binary lies, nobody may have no way in.
    let (_dir, copy) = copy_for_all(sandbox)?;
    let mut command = Command::new(&copy);
    command.args(["events", "--json", "--backend", &sandbox.setup.backend]).uid(NOBODY).gid(NOBODY);
    let output = command.current_dir("/").stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    let lines = stderr.lines().filter(|line| !line.trim().is_empty()).count();
    if output.status.code() != Some(77) || lines != 2 || !output.stdout.is_empty() {
        sandbox.fail(format!("{}, {lines} lines on stderr: {stderr:?}", output.status));
    }
    Ok(())
}

/// Where the kernel can be asked for its functions it is: the list that stands in says the same, and takes far longer.
pub(super) fn functions_are_asked_for(sandbox: &mut Sandbox) -> Result<()> {
    let output = Command::new(&sandbox.setup.twtrace).args(["check", "--json"]).output()?;
    let checked: Value = serde_json::from_slice(&output.stdout).context("twtrace check --json")?;
    // bpf_kallsyms_lookup_name() (kernel/bpf/syscall.c, 5.16 to 7.3).
    let want = if kernel::version()? >= (5, 16) { "bpf" } else { "kallsyms" };
    ensure!(checked["functions"] == want, "{}, where it should be {want}", checked["functions"]);
    Ok(())
}

/// SIGTERM ends it as Ctrl-C does: with 0, all told, and a summary.
pub(super) fn sigterm(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--verify"])?;
    make(sandbox, 7)?;
    let told = tracer.stop(Signal::SIGTERM)?;
    judge_all(sandbox, &told)
}

/// `--count` ends it after so many lines, though there are more events.
pub(super) fn count(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self", "--count", "13"])?;
    make(sandbox, 17)?;
    let told = tracer.finish()?;
    let events = told.events()?;
    let netns = [sandbox.netns()];
    ensure!(events.len() == 13, "--count 13 gave {} lines", events.len());
    ensure!(events.iter().all(|event| within(event, &netns)), "--netns self let another namespace through");
    Ok(())
}

/// `--duration` ends it by itself.
pub(super) fn duration(sandbox: &mut Sandbox) -> Result<()> {
    let told = Tracer::start(&sandbox.setup, &["--json", "--duration", "1s"])?.finish()?;
    told.events().map(drop)
}

/// The reader of a pipe goes away: no complaint, and 0.
pub(super) fn broken_pipe(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (reader, writer) = std::io::pipe()?;
    let mut tracer = Tracer::launch_into(&sandbox.setup, &["--json"], dir, Stdio::from(writer))?;
    tracer.ready()?;
    drop(reader);
    make(sandbox, 7)?;
    let told = tracer.finish()?;
    let complaint = ["panic", "roken pipe", "os error 32"].iter().any(|word| told.stderr.contains(word));
    ensure!(told.status.success() && !complaint, "{}: {:?}", told.status, told.stderr);
    Ok(())
}

/// Each line comes at once, also into a pipe or file: nothing is held back for more.
pub(super) fn nothing_held_back(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    make(sandbox, 3)?;
    let births = |text: &str| text.lines().filter(|line| line.contains("\"created\"")).count();
    until_true("three births", PATIENCE, || Ok(births(&tracer.so_far()?) == 3))?;
    let told = tracer.stop(Signal::SIGINT)?;
    judge_all(sandbox, &told)
}

/// Names of processes do not reach a terminal as they are.
pub(super) fn hostile_name_as_text(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--netns", "self"])?;
    let (_, listener) = sandbox.cast()?;
    let client = sandbox.actor("\u{1b}[31mred\n\u{7}")?;
    let pair = sandbox.pair(&client, &listener)?;
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, &client, "close"));
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let raw = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
    ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
    ensure!(!raw(&told.stdout) && !raw(&told.stderr), "a raw control character in {:?}", told.stdout);
    let port = pair.client.local.port().to_string();
    let lines: Vec<&str> = told.stdout.lines().filter(|line| line.contains(&port)).collect();
    let whole =
        matches!(lines[..], [line] if line.contains("red") && line.contains(&client.pid().to_string()));
    ensure!(whole, "not one line with port {port}, the pid and the name: {:?}", told.stdout);
    Ok(())
}

/// SIGKILL leaves nothing loaded.
pub(super) fn killed_tracer(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--json"])?;
    let programs: BTreeSet<u32> = bpf::programs_of(tracer.pid())?;
    ensure!(!programs.is_empty(), "twtrace has no program loaded while it runs");
    tracer.signal(Signal::SIGKILL)?;
    let told = tracer.finish().context("after SIGKILL")?;
    ensure!(!told.status.success(), "SIGKILL did not end it: {}", told.status);
    until_true("its programs to be unloaded", PATIENCE, || {
        Ok(bpf::loaded()?.intersection(&programs).next().is_none())
    })
}
