//! Running other programs: say what is run, and fail with its name and the tail of its output.
//!
//! Owns: child processes of xtask. Must not know: which programs, and why.

use crate::stop;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Lines of a failed program's output that its error repeats.
const TAIL_LINES: usize = 15;

/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// What a program printed, and how it ended.
pub(crate) struct Finished {
    /// Standard output and standard error, in the order they came.
    pub(crate) text: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// The command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = String::new();
    for (key, value) in command.get_envs() {
        if let Some(value) = value.filter(|_| key != "PATH") {
            line += &format!("{}={} ", key.to_string_lossy(), quoted(&value.to_string_lossy()));
        }
    }
    line += &quoted(&command.get_program().to_string_lossy());
    for arg in command.get_args() {
        line.push(' ');
        line += &quoted(&arg.to_string_lossy());
    }
    line
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\x1f', " ").replace('\'', "'\\''"))
    }
}

/// Starts a program. Every program is started here: none once we are stopped, and none outlives us.
///
/// # Errors
/// Where we are stopped, or it cannot be started.
fn spawn(command: &mut Command) -> Result<Child> {
    stop::prepare(command);
    stop::unless_stopped(|| command.spawn().with_context(|| unstartable(command)))
}

/// Runs it with the terminal that we have.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    Ok(spawn(command)?.wait()?)
}

/// Runs it silently. How it ended is for the caller to judge.
///
/// # Errors
/// Where it cannot be started or read from.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(spawn(command)?.wait_with_output()?)
}

/// Whether a program is there and ends with 0; it runs silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok_and(|output| output.status.success())
}

/// Runs it with its output going where ours goes.
///
/// # Errors
/// Where it cannot be started, or ends with anything but 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = status(command.stdin(Stdio::null()))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs it silently and returns its standard output.
///
/// # Errors
/// Where it cannot be started, or ends with anything but 0; the error holds the tail of its output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let all = [output.stdout, output.stderr].concat();
        bail!("`{}` failed: {}\n{}", shown(command), output.status, tail(&String::from_utf8_lossy(&all)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs it, shows its output as it comes, and keeps it. How it ended is for the caller to judge.
///
/// # Errors
/// Where it cannot be started or read from.
pub(crate) fn tee(command: &mut Command) -> Result<Finished> {
    eprintln!("$ {}", shown(command));
    let (mut reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = spawn(command)?;
    // The command holds our copies of the pipe's write end: while they live, the read below never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut kept = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        match reader.read(&mut chunk)? {
            0 => break,
            n => {
                kept.extend_from_slice(&chunk[..n]);
                std::io::stdout().write_all(&chunk[..n])?;
                std::io::stdout().flush()?;
            }
        }
    }
    Ok(Finished { text: String::from_utf8_lossy(&kept).into_owned(), status: child.wait()? })
}

/// A child that does not outlive this value, whatever goes wrong.
pub(crate) struct Guarded(Child);

impl Guarded {
    /// Starts a program.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(crate) fn spawn(command: &mut Command) -> Result<Guarded> {
        spawn(command).map(Guarded)
    }

    /// The process behind it.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
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

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("{signal} to process {}", self.id()))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A server with children of its own ends them on SIGTERM; who does not listen is killed.
        if !self.has_ended() && self.signal(Signal::SIGTERM).is_ok() {
            drop(until(GRACE, "a child has ended", || self.has_ended()));
        }
        // Both fail only where it has ended and been waited for.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until something is true.
///
/// # Errors
/// Where it does not become true in time; `what` says what it was.
pub(crate) fn until(patience: Duration, what: &str, mut is_true: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_true() {
        if Instant::now() > deadline {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        // poll: files and other processes' states have no event that all kernels offer.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The last lines of a text, for error messages.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// A command that runs as root: itself where we are root, through `sudo` where we are not.
///
/// # Errors
/// Where we are not root and there is no `sudo`.
pub(crate) fn as_root(program: &str) -> Result<Command> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    if which("sudo").is_none() {
        bail!("`{program}` needs root: run this as root, or install sudo");
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    Ok(command)
}

/// The first executable of that name on `PATH`, and in the folders for administrators, which users' paths lack.
pub(crate) fn which(name: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH")?;
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(administrators).map(|dir| dir.join(name)).find(|file| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

fn unstartable(command: &Command) -> String {
    format!("`{}` cannot be started; `cargo xtask install` installs what is needed", shown(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tee_keeps_both_streams_and_the_status() {
        let done = tee(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 7"])).unwrap();
        assert_eq!((done.text.as_str(), done.status.code()), ("out\nerr\n", Some(7)));
    }

    #[test]
    fn a_failure_names_the_command_and_repeats_its_last_lines() {
        let error = read(Command::new("sh").args(["-c", "seq 1 40; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("seq 1 40") && error.ends_with("39\n40"), "{error}");
        assert!(!error.contains("\n25\n"), "{error}");
    }

    #[test]
    fn shown_quotes_what_a_shell_would_split() {
        let mut command = Command::new("a b");
        command.env("K", "v w").args(["x", "it's", ""]);
        assert_eq!(shown(&command), r#"K='v w' 'a b' x 'it'\''s' ''"#);
    }
}
