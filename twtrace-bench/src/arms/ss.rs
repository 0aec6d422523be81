//! `ss` every second: what those do who have no tracer.
//!
//! Owns: the polling, and its bill. Must not know: how loads are made.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::errno::Errno;
use twtrace_kit::command::which;

use crate::model::Told;

const EVERY: Duration = Duration::from_secs(1);

/// A thread that runs `ss` at once and then every second.
pub(crate) struct Polling {
    stop: Sender<()>,
    thread: JoinHandle<Result<f64>>,
}

/// One look.
pub(super) fn command() -> Command {
    let mut command = Command::new("ss");
    command.args(["-tanH", "state", "time-wait"]);
    command
}

impl Polling {
    /// Begins.
    pub(super) fn start() -> Result<Self> {
        which("ss").context("no ss here (Debian package iproute2)")?;
        let (stop, stopped) = channel();
        let poll = move || -> Result<f64> {
            let mut cpu_s = 0.0;
            loop {
                cpu_s += billed(command().stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)?;
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return Ok(cpu_s);
                }
            }
        };
        Ok(Self { stop, thread: std::thread::spawn(poll) })
    }

    /// Ends it. It tells no births and no owners; gives its CPU time in seconds.
    pub(super) fn stop(self) -> Result<(Told, f64)> {
        let Self { stop, thread } = self;
        drop(stop);
        let cpu_s = thread.join().map_err(|_| anyhow!("polling with ss panicked"))??;
        Ok((Told::default(), cpu_s))
    }
}

/// Waits for a child and gives its CPU time in seconds.
fn billed(child: Child) -> Result<f64> {
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: an all-zero rusage is a valid value of that C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers are to memory of ours. The child is our own, and nobody else waits for it: `child` is not used again.
    Errno::result(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) }).context("wait4")?;
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "ss failed with status {status:#x}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_time_is_billed_and_its_failure_seen() {
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]);
        assert!(billed(busy.spawn().unwrap()).unwrap() > 0.0);
        assert!(billed(Command::new("false").spawn().unwrap()).is_err());
    }
}
