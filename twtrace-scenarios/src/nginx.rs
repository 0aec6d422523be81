//! Owns: an nginx of a scenario's own, in the calling process's network namespace.
//! Must not know: what is asked of it, twtrace.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::books;
use twtrace_kit::child::{GRACE, Guarded};
use twtrace_kit::wait::{PATIENCE, until_true};

/// Where it answers.
pub(crate) const URL: &str = "http://127.0.0.1:10007/";

/// What it reads, up to how many seconds it keeps connections, and from there on.
const CONFIGURATION: [&str; 2] = [
    "daemon off; worker_processes 2; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000; keepalive_timeout ",
    "; server { listen 127.0.0.1:10007; location / { return 200 ok; } } }
",
];

/// One that runs. It ends with this value.
pub(crate) struct Nginx {
    child: Guarded,
    _dir: TempDir,
}

impl Nginx {
    /// Starts one that keeps idle connections for so many seconds, and waits until it listens.
    ///
    /// # Errors
    /// Where it cannot be started, or does not listen in time.
    pub(crate) fn start(keep_alive_s: u32) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        fs::write(dir.path().join("nginx.conf"), CONFIGURATION.join(&keep_alive_s.to_string()))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        // Its workers end with it only where it is not killed.
        let child = Guarded::spawn(command.stdin(Stdio::null()).stderr(Stdio::null()))?.with_grace(GRACE);
        let listens = |row: &books::Row| row.state == books::LISTEN && row.local.port() == 10007;
        until_true("nginx to listen", PATIENCE, || Ok(books::rows("self")?.iter().any(listens)))?;
        Ok(Self { child, _dir: dir })
    }

    /// Ends it, once it has answered what it was asked.
    ///
    /// # Errors
    /// Where it ends otherwise.
    pub(crate) fn end(mut self) -> Result<()> {
        let status = self.child.stop(Signal::SIGQUIT, PATIENCE)?;
        ensure!(status.success(), "nginx ended with {status}");
        Ok(())
    }
}
