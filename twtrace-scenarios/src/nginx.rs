//! Owns: an nginx of a scenario's own, in the calling process's network namespace.
//! Must not know: what is asked of it, twtrace.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
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

/// Where it says what is wrong, in a folder of its own.
const STDERR: &str = "stderr";

/// One that runs. It ends with this value.
pub(crate) struct Nginx {
    child: Guarded,
    dir: TempDir,
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
        let stderr = File::create(dir.path().join(STDERR))?;
        let child = Guarded::spawn(command.stdin(Stdio::null()).stderr(stderr))?.with_grace(GRACE);
        let nginx = Self { child, dir };
        let listens = |row: &books::Row| row.state == books::LISTEN && row.local.port() == 10007;
        until_true("nginx to listen", PATIENCE, || {
            ensure!(!nginx.child.has_ended(), "nginx has ended");
            Ok(books::rows("self")?.iter().any(listens))
        })
        .with_context(|| nginx.said())?;
        Ok(nginx)
    }

    fn said(&self) -> String {
        let said = fs::read(self.dir.path().join(STDERR)).unwrap_or_default();
        format!("nginx said: {}", String::from_utf8_lossy(&said).trim_end())
    }

    /// Ends it, once it has answered what it was asked.
    ///
    /// # Errors
    /// Where it ends otherwise.
    pub(crate) fn end(mut self) -> Result<()> {
        let status = self.child.stop(Signal::SIGQUIT, PATIENCE)?;
        ensure!(status.success(), "nginx ended with {status}; {}", self.said());
        Ok(())
    }
}
