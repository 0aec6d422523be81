//! Being stopped: whatever xtask started, at any depth, is ended before xtask itself ends, and nothing new is started.
//!
//! Owns: the signals that stop us, and the processes below us. Must not know: what any of them does.
//!
//! Descendants are found by their parents in /proc. We are their subreaper, so that those whose parent has ended stay ours; a process
//! group would not do, as programs make groups of their own, and would take the terminal away from `sudo`'s question for a password.

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpid};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What stops us, unless it was set to be ignored when we were started (nohup, a shell's `&`).
const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// After a Ctrl-C the terminal has told everybody: how long they may take to end by themselves.
const AFTER_CTRL_C: Duration = Duration::from_secs(1);

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// How long it may take to go after SIGKILL, and how long our own main thread may take to end afterwards.
const END: Duration = Duration::from_secs(3);

/// Between two looks at what is left.
const POLL: Duration = Duration::from_millis(20);

#[derive(Default)]
struct State {
    /// What stopped us.
    by: Option<Signal>,
    /// Nothing of what we started is left.
    swept: bool,
}

static STATE: Mutex<State> = Mutex::new(State { by: None, swept: false });
static SWEPT: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// We were stopped; the signal.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {0}")]
pub(crate) struct Stopped(pub(crate) Signal);

/// Starts to listen to the signals that stop us. Must come before any other thread, which inherits that they are blocked.
///
/// # Errors
/// Where the kernel refuses.
pub(crate) fn listen() -> Result<()> {
    prctl::set_child_subreaper(true).context("becoming the reaper of orphans")?;
    let mut signals = SigSet::empty();
    SIGNALS.into_iter().filter(|signal| !is_ignored(*signal)).for_each(|signal| signals.add(signal));
    signals.thread_block().context("blocking the signals that stop us")?;
    let watch = move || {
        if let Ok(signal) = signals.wait() {
            end(signal);
        }
    };
    std::thread::Builder::new().name("stop".to_owned()).spawn(watch).context("a thread for signals")?;
    Ok(())
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: an all-zero sigaction is a valid value of that C struct.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and `now`, which the kernel fills in, lives through the call.
    let done = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &raw mut now) };
    done == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// What a child does between fork and exec: it hears signals again, and does not outlive us.
pub(crate) fn prepare(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let parent = getpid();
    let set_up = move || {
        SigSet::empty().thread_set_mask()?;
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        // We may have ended before it asked for that.
        if nix::unistd::getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: three system calls between fork and exec; nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(set_up) };
}

/// Does something that must not begin once we are stopped, such as starting a program.
///
/// # Errors
/// [`Stopped`], or what `begin` fails with.
pub(crate) fn unless_stopped<T>(begin: impl FnOnce() -> Result<T>) -> Result<T> {
    // Held meanwhile: whoever stops us sees what was begun.
    let state = state();
    match state.by {
        Some(signal) => Err(Stopped(signal).into()),
        None => begin(),
    }
}

/// What stopped us, once nothing of what we started is left; `None` where nothing did.
pub(crate) fn finished() -> Option<Signal> {
    let state = state();
    let signal = state.by?;
    drop(SWEPT.wait_timeout_while(state, GRACE + 2 * END, |state| !state.swept));
    Some(signal)
}

/// Exit status of a program that a signal ended, as a shell shows it.
pub(crate) fn status(signal: Signal) -> u8 {
    128_u8.saturating_add(signal as u8)
}

/// Ends everything below us; and us, where the main thread does not.
fn end(signal: Signal) {
    eprintln!("xtask: {signal}: ending what was started");
    state().by = Some(signal);
    if signal == Signal::SIGINT {
        wait_for_none(AFTER_CTRL_C, |_| {});
    }
    // Again and again: a process may have been made while we looked.
    if !wait_for_none(GRACE, |pid| send(pid, Signal::SIGTERM)) {
        wait_for_none(END, |pid| send(pid, Signal::SIGKILL));
    }
    state().swept = true;
    SWEPT.notify_all();
    // poll: nothing tells a thread that the main one cannot get to its end.
    std::thread::sleep(END);
    std::process::exit(i32::from(status(signal)));
}

/// Until nothing runs below us, or it takes too long. `each` is called once for each process.
fn wait_for_none(patience: Duration, mut each: impl FnMut(Pid)) -> bool {
    let deadline = Instant::now() + patience;
    let mut told = Vec::new();
    loop {
        let left = descendants(getpid(), &processes());
        if left.is_empty() {
            return true;
        }
        for pid in left {
            if !told.contains(&pid) {
                each(pid);
                told.push(pid);
            }
        }
        if Instant::now() > deadline {
            return false;
        }
        // poll: the end of another process's child is told to nobody but its parent.
        std::thread::sleep(POLL);
    }
}

/// Signals a process; through `sudo` where it is root's and we are not.
fn send(pid: Pid, signal: Signal) {
    if kill(pid, signal) == Err(nix::errno::Errno::EPERM) {
        let mut command = Command::new("sudo");
        command.args(["-n", "kill", "-s", signal.as_str().trim_start_matches("SIG"), &pid.to_string()]);
        // Where it cannot be done either, nothing is left to try.
        drop(command.output());
    }
}

/// All processes that have not ended, and their parents.
fn processes() -> BTreeMap<Pid, Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: i32| parent(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    numbers.filter_map(|pid| Some((Pid::from_raw(pid), parent(pid)?))).collect()
}

/// The parent in a line of /proc/PID/stat; `None` where the process has ended and only waits to be waited for.
fn parent(stat: &str) -> Option<Pid> {
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then(|| Pid::from_raw(parent))
}

fn descendants(ancestor: Pid, processes: &BTreeMap<Pid, Pid>) -> Vec<Pid> {
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(processes.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_parent() {
        assert_eq!(parent("23 (a) Z 1 (b)) S 19 23 23"), Some(Pid::from_raw(19)));
        assert_eq!(parent("23 (cargo) Z 19 23 23"), None);
        assert_eq!(parent("23 (cargo"), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let pairs = [(7, 1), (11, 7), (13, 11), (17, 11), (19, 3), (3, 1)];
        let processes = pairs.map(|(pid, parent)| (Pid::from_raw(pid), Pid::from_raw(parent))).into();
        assert_eq!(descendants(Pid::from_raw(7), &processes), [11, 13, 17].map(Pid::from_raw));
        assert!(descendants(Pid::from_raw(13), &processes).is_empty());
    }
}
