//! Processes that do not outlive us, and waiting for them.
//!
//! Owns: starting, ending and waiting. Must not know: which programs, and why.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How long anything else may take that is not the load itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// This machine cannot: the reason. Exit status 77, as twtrace's own.
#[derive(Debug)]
pub(crate) struct Cannot(pub(crate) String);

impl Cannot {
    /// The exit status that says so.
    pub(crate) const STATUS: u8 = 77;
}

impl std::fmt::Display for Cannot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cannot {}

/// A child that does not outlive this value, whatever goes wrong.
pub(crate) struct Guarded(Child);

impl Guarded {
    /// Starts a program, which SIGINT ends unless it says otherwise: what a shell started in the background inherits that it
    /// is ignored.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        // SAFETY: one system call between fork and exec; nothing is allocated, no lock is taken.
        unsafe { command.pre_exec(|| Ok(signal(Signal::SIGINT, SigHandler::SigDfl).map(drop)?)) };
        command.spawn().map(Guarded).with_context(|| format!("`{}` cannot be started", shown(command)))
    }

    /// Its stdin and stdout, if they are pipes that nobody has taken yet.
    pub(crate) fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.0.stdin.take()?, self.0.stdout.take()?))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended; it can be waited for all the same.
    pub(crate) fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Sends it a signal and waits for its end, for which that signal is as good as success.
    ///
    /// # Errors
    /// Where it does not end in time, or ends otherwise.
    pub(crate) fn stop(mut self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("{signal} to process {}", self.id()))?;
        until(PATIENCE, "a tracer has ended", || Ok(self.has_ended()))?;
        let status: ExitStatus = self.0.wait()?;
        ensure!(status.success() || status.signal() == Some(signal as i32), "it ended with {status}");
        Ok(())
    }

    /// The exit status of one that has ended.
    pub(crate) fn status(mut self) -> Option<i32> {
        self.0.wait().ok()?.code()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A server with children of its own ends them on SIGTERM; who does not listen is killed.
        if !self.has_ended() && kill(self.pid(), Signal::SIGTERM).is_ok() {
            drop(until(GRACE, "a child has ended", || Ok(self.has_ended())));
        }
        // Both fail only where it has ended and been waited for.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until something is true.
///
/// # Errors
/// Where it does not become true in time, `what` says what it was; or where asking fails.
pub(crate) fn until(patience: Duration, what: &str, mut is_true: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_true()? {
        if Instant::now() > deadline {
            bail!("waited {} s in vain until {what}", patience.as_secs_f64());
        }
        // poll: files and other processes' states have no event that all kernels offer.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Lets time pass: the length of a measurement.
pub(crate) fn pass(time: Duration) {
    // poll: nothing is waited for, the window that is measured has this length.
    std::thread::sleep(time);
}

/// Runs a program silently and returns what it printed, stdout before stderr.
///
/// # Errors
/// Where it cannot be started, or ends with anything but 0; the error holds what it printed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output: io::Result<_> = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("`{}` cannot be started", shown(command)))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "`{}` failed: {}\n{text}", shown(command), output.status);
    Ok(text)
}

/// The command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+%@$".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The first executable of that name on `PATH`, and in the folders for administrators, which users' paths lack.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH")?;
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(administrators).map(|dir| dir.join(name)).find(|file| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_asked_for_is_no_failure_but_an_exit_status_is() {
        let mut sleeper = Command::new("sleep");
        Guarded::spawn(sleeper.arg("60")).unwrap().stop(Signal::SIGINT).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let mut rude = Command::new("sh");
        rude.args(["-c", "trap 'exit 3' INT; : > \"$0\"; while :; do sleep 0.01; done"]).arg(&ready);
        let rude = Guarded::spawn(&mut rude).unwrap();
        until(PATIENCE, "it is ready", || Ok(ready.exists())).unwrap();
        let error = rude.stop(Signal::SIGINT).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn what_is_waited_for_in_vain_is_named() {
        let error = until(Duration::from_millis(7), "pigs fly", || Ok(false)).unwrap_err().to_string();
        assert!(error.ends_with("until pigs fly"), "{error}");
    }

    #[test]
    fn a_command_is_shown_as_typed_and_its_failure_shows_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo it\\'s >&2; exit 7"]);
        assert_eq!(shown(&command), "sh -c 'echo out; echo it\\'\\''s >&2; exit 7'");
        let error = read(&mut command).unwrap_err().to_string();
        assert!(error.ends_with("out\nit's\n"), "{error}");
    }

    #[test]
    fn programs_for_administrators_are_found() {
        assert!(which("sh").is_some());
        assert!(which("no-such-program").is_none());
    }
}
