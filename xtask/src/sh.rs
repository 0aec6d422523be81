//! Running other programs: say what is run, start nothing once we are stopped, and fail with its name and the tail of its output.
//!
//! Owns: child processes of xtask. Must not know: which programs, and why.

use crate::stop;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use twtrace_kit::child::{GRACE, Guarded};
use twtrace_kit::command::{printed, shown, which};

/// What a program printed, and how it ended.
pub(crate) struct Finished {
    /// Standard output and standard error, in the order they came.
    pub(crate) text: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Starts a program. Every program is started here: none once we are stopped, and none outlives us.
///
/// # Errors
/// Where we are stopped, or it cannot be started.
fn spawn(command: &mut Command) -> Result<Child> {
    stop::prepare(command);
    stop::unless_stopped(|| command.spawn().with_context(|| unstartable(command)))
}

/// Starts a program that does not outlive the value, and has time to end by itself.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn guarded(command: &mut Command) -> Result<Guarded> {
    Ok(Guarded::new(spawn(command)?, command).with_grace(GRACE))
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
    printed(command, &output)
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

fn unstartable(command: &Command) -> String {
    let what = twtrace_kit::command::unstartable(command);
    format!("{what}; `cargo xtask install` installs what is needed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tee_keeps_both_streams_and_the_status() {
        let done = tee(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 7"])).unwrap();
        assert_eq!((done.text.as_str(), done.status.code()), ("out\nerr\n", Some(7)));
    }
}
