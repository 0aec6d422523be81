//! Children of the bench: how each is started and stopped.
//!
//! Owns: what all of them have in common beyond the kit's. Must not know: which programs, and why.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::child::{GRACE, Guarded};
use twtrace_kit::wait::PATIENCE;

/// Starts a program, which has time to end by itself.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn start(command: &mut Command) -> Result<Guarded> {
    Ok(Guarded::spawn(command)?.with_grace(GRACE))
}

/// Sends it a signal and waits for its end, for which that signal is as good as success.
///
/// # Errors
/// Where it does not end in time, or ends otherwise.
pub(crate) fn stop(mut child: Guarded, signal: Signal) -> Result<()> {
    let status = child.stop(signal, PATIENCE)?;
    ensure!(status.success() || status.signal() == Some(signal as i32), "it ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twtrace_kit::wait::until_true;

    #[test]
    fn a_signal_asked_for_is_no_failure_but_an_exit_status_is() {
        twtrace_kit::child::heed(Signal::SIGINT).unwrap();
        let mut sleeper = Command::new("sleep");
        stop(start(sleeper.arg("60")).unwrap(), Signal::SIGINT).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let mut rude = Command::new("sh");
        rude.args(["-c", "trap 'exit 3' INT; : > \"$0\"; while :; do sleep 0.01; done"]).arg(&ready);
        let rude = start(&mut rude).unwrap();
        until_true("it to be ready", PATIENCE, || Ok(ready.exists())).unwrap();
        let error = stop(rude, Signal::SIGINT).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }
}
