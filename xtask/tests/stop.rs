//! What is left when `cargo xtask` is stopped: nothing, and no further step was begun.

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use twtrace_kit::child::{Guarded, end_with_us};
use twtrace_kit::wait::until_true;

/// Stands in for cargo: writes down how it was called, leaves a process in a session of its own, whose parent is gone, and hangs.
const HANGING_CARGO: &str = r#"#!/bin/sh
echo "$*" >> "$DIR/called"
(setsid sh -c 'echo $$ >> "$DIR/pids"; exec sleep 601' &)
echo $$ >> "$DIR/pids"
exec sleep 603
"#;

/// A busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Starts a command of xtask with a cargo that hangs in its first step; gives the processes that it made.
fn start(command: &[&str], dir: &Path, ignored: Option<Signal>) -> (Guarded, Vec<Pid>) {
    let cargo = dir.join("cargo");
    std::fs::write(&cargo, HANGING_CARGO).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let args = command;
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).env("PATH", path).env("DIR", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Under nohup we ignore SIGHUP, and so would it.
    let set_up = move || {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let wanted = if ignored == Some(signal) { SigHandler::SigIgn } else { SigHandler::SigDfl };
            // SAFETY: no handler is set.
            unsafe { nix::sys::signal::signal(signal, wanted)? };
        }
        Ok(())
    };
    // SAFETY: three system calls between fork and exec; nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(set_up) };
    // It ends with the test, whatever becomes of that, and then ends what it has started itself.
    end_with_us(&mut command, Signal::SIGTERM);
    let child = Guarded::spawn(&mut command).unwrap().with_grace(PATIENCE);
    let pids = dir.join("pids");
    until_true("both processes of the first step to run", PATIENCE, || Ok(lines(&pids).len() == 2)).unwrap();
    let pids = lines(&pids).iter().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
    (child, pids)
}

fn is_there(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains("(sleep)") && !stat.contains(") Z ")
}

#[test]
fn nothing_is_left() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, pids) = start(&["demo"], dir.path(), None);
        child.signal(signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert_eq!(pids.into_iter().filter(|pid| is_there(*pid)).count(), 0, "after {signal}");
    }
}

#[test]
fn no_further_step_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _) = start(&["test", "--quick"], dir.path(), None);
    child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(lines(&dir.path().join("called")), ["fmt --all --check"]);
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, pids) = start(&["demo"], dir.path(), Some(Signal::SIGHUP));
    child.signal(Signal::SIGHUP).unwrap();
    child.signal(Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!pids.into_iter().any(is_there));
}

#[test]
fn what_was_started_does_not_outlive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, pids) = start(&["demo"], dir.path(), None);
    child.kill().unwrap();
    child.wait().unwrap();
    // The process that we started ourselves; nobody is left who could end what it in turn has left behind.
    let has_ended = || Ok(pids.iter().filter(|pid| is_there(**pid)).count() < 2);
    until_true("it to have ended", PATIENCE, has_ended).unwrap();
    pids.into_iter().filter(|pid| is_there(*pid)).for_each(|pid| kill(pid, Signal::SIGKILL).unwrap());
}
