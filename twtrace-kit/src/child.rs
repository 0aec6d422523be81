//! Child processes that do not outlive us.
//!
//! Owns: a child that ends with its value, and how it is ended. Must not know: which programs, and why.

use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::prctl;
use nix::sys::signal::{self, SigHandler, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::command::unstartable;
use crate::wait::until;

/// How long a server may take to end after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(5);

/// A child that does not outlive this value, whatever goes wrong: it is killed, unless [`Guarded::with_grace`] says otherwise.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    /// What it is called in errors.
    name: String,
    /// How long it may take to end after SIGTERM; `None`: it is not asked.
    grace: Option<Duration>,
}

impl Guarded {
    /// Starts a program.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| unstartable(command))?;
        Ok(Self::new(child, command))
    }

    /// One that `command` has started.
    pub fn new(child: Child, command: &Command) -> Self {
        let program = Path::new(command.get_program());
        let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
        Self { child, name, grace: None }
    }

    /// It is sent SIGTERM at its end, and killed only where it runs on for so long: a server with children of its own ends them.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Whether it has ended; it can be waited for all the same.
    pub fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("{signal} to {}, process {}", self.name, self.id()))
    }

    /// Waits until it has ended, and says how.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn await_end(&mut self, patience: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        until(&what, patience, || Ok(self.child.try_wait()?))
    }

    /// Sends it a signal, waits until it has ended, and says how.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.await_end(patience)
    }

    /// Ends it now, as it ends with this value.
    pub fn end(&mut self) {
        if let Some(grace) = self.grace
            && matches!(self.child.try_wait(), Ok(None))
        {
            // Who does not listen is killed.
            drop(self.stop(Signal::SIGTERM, grace));
        }
        // Both do nothing where it has ended and been waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

/// Has what `command` starts get a signal when the thread that starts it ends, however that comes about.
pub fn end_with_us(command: &mut Command, signal: Signal) {
    // SAFETY: one system call between fork and exec; nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(move || Ok(prctl::set_pdeathsig(signal)?)) };
}

/// Has a signal end this process, and what it starts, unless they say otherwise: a shell has what it starts in the background
/// ignore SIGINT, and that is inherited.
///
/// # Errors
/// Where there is no such signal to be had, SIGKILL for instance.
pub fn heed(signal: Signal) -> Result<()> {
    // SAFETY: no function is registered, and what the kernel does by default runs no code of this process.
    unsafe { signal::signal(signal, SigHandler::SigDfl) }
        .with_context(|| format!("heeding {signal}"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{PATIENCE, until_true};
    use std::os::unix::process::ExitStatusExt as _;

    /// A shell that says when it is ready, and on SIGTERM does as it is told.
    fn shell(dir: &Path, on_term: &str) -> Guarded {
        let script = format!("trap '{on_term}' TERM; : > ready; while :; do sleep 0.01; done");
        let child = Guarded::spawn(Command::new("sh").args(["-c", &script]).current_dir(dir)).unwrap();
        until_true("the shell to be ready", PATIENCE, || Ok(dir.join("ready").exists())).unwrap();
        child
    }

    #[test]
    fn one_is_killed_at_once_and_another_may_end_by_itself() {
        for (grace, left) in [(None, false), (Some(PATIENCE), true)] {
            let dir = tempfile::tempdir().unwrap();
            let mut child = shell(dir.path(), ": > left; exit");
            child.grace = grace;
            drop(child);
            assert_eq!(dir.path().join("left").exists(), left);
        }
    }

    #[test]
    fn who_does_not_listen_is_killed_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = shell(dir.path(), "").with_grace(Duration::from_millis(11));
        child.end();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        // What has ended is let be.
        child.end();
    }

    #[test]
    fn one_that_has_ended_says_how() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = shell(dir.path(), "exit 3");
        assert!(!child.has_ended());
        let error = child.await_end(Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "waited 0 s in vain for sh to end");
        child.signal(Signal::SIGTERM).unwrap();
        until_true("it to have ended", PATIENCE, || Ok(child.has_ended())).unwrap();
        assert_eq!(child.await_end(PATIENCE).unwrap().code(), Some(3));
        assert!(child.has_ended());
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let error = Guarded::spawn(Command::new("/no/such/program").arg("x")).unwrap_err().to_string();
        assert_eq!(error, "`/no/such/program x` cannot be started");
    }
}
