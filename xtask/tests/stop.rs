//! What is left when `cargo xtask` is stopped: nothing, and no further step was begun.

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Stands in for cargo: writes down how it was called, leaves a process in a session of its own, whose parent is gone, and hangs.
const HANGING_CARGO: &str = r#"#!/bin/sh
echo "$*" >> "$PLACE/called"
(setsid sh -c 'echo $$ >> "$PLACE/pids"; exec sleep 601' &)
echo $$ >> "$PLACE/pids"
exec sleep 603
"#;

/// A busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends with the test, whatever becomes of it, and then ends what it has started itself.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Where it has been waited for, there is nothing to be done.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill(pid(self), Signal::SIGTERM);
            drop(self.0.wait());
        }
    }
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        // poll: what another process has written, and whether it is there, is told to nobody.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Starts a command of xtask with a cargo that hangs in its first step; gives the processes that it made.
fn start(command: &[&str], place: &Path, ignored: Option<Signal>) -> (Guarded, Vec<Pid>) {
    let cargo = place.join("cargo");
    std::fs::write(&cargo, HANGING_CARGO).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap());
    let args = command;
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).env("PATH", path).env("PLACE", place);
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
    // SAFETY: one system call between fork and exec; nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?)) };
    let child = Guarded(command.spawn().unwrap());
    let pids = place.join("pids");
    until("both processes of the first step run", || lines(&pids).len() == 2);
    let pids = lines(&pids).iter().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
    (child, pids)
}

fn is_there(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains("(sleep)") && !stat.contains(") Z ")
}

fn pid(child: &Guarded) -> Pid {
    Pid::from_raw(child.0.id().cast_signed())
}

#[test]
fn nothing_is_left() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let place = tempfile::tempdir().unwrap();
        let (mut child, pids) = start(&["demo"], place.path(), None);
        kill(pid(&child), signal).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(status));
        assert_eq!(pids.into_iter().filter(|pid| is_there(*pid)).count(), 0, "after {signal}");
    }
}

#[test]
fn no_further_step_is_begun() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, _) = start(&["test", "--quick"], place.path(), None);
    kill(pid(&child), Signal::SIGTERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
    assert_eq!(lines(&place.path().join("called")), ["fmt --all --check"]);
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, pids) = start(&["demo"], place.path(), Some(Signal::SIGHUP));
    kill(pid(&child), Signal::SIGHUP).unwrap();
    kill(pid(&child), Signal::SIGTERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
    assert!(!pids.into_iter().any(is_there));
}

#[test]
fn what_was_started_does_not_outlive_a_kill() {
    let place = tempfile::tempdir().unwrap();
    let (mut child, pids) = start(&["demo"], place.path(), None);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    // The process that we started ourselves; nobody is left who could end what it in turn has left behind.
    until("it has ended", || pids.iter().filter(|pid| is_there(**pid)).count() < 2);
    pids.into_iter().filter(|pid| is_there(*pid)).for_each(|pid| kill(pid, Signal::SIGKILL).unwrap());
}
