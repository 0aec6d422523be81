//! A web server and its client in a network namespace of their own.
//!
//! Owns: the namespace, nginx, ab. Must not know: tracers.

use crate::sh;
use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, unshare};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const ADDRESS: &str = "127.0.0.1:8080";

/// How long nginx may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. It ends with this value, and the namespace with this process.
pub(super) struct Site {
    _nginx: sh::Guarded,
    _dir: tempfile::TempDir,
}

impl Site {
    /// Moves this process into a new network namespace and starts nginx there.
    ///
    /// # Errors
    /// Where the namespace is refused (root is needed) or nginx does not listen in time.
    pub(super) fn open() -> Result<Site> {
        // No name, so nothing stays behind, however we end. Children inherit it.
        unshare(CloneFlags::CLONE_NEWNET).context("a new network namespace needs root")?;
        sh::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        // The client runs through its ports faster than TIME_WAIT gives them back: let it have all.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?;
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("nginx.conf");
        std::fs::write(&config, configuration(dir.path()))?;
        let program =
            sh::which("nginx").ok_or_else(|| anyhow!("no nginx; `cargo xtask install` installs it"))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(dir.path()).arg("-c").arg(&config).arg("-e").arg(dir.path().join("error.log"));
        let nginx = sh::Guarded::spawn(command.stdin(Stdio::null()))?;
        let pid = dir.path().join("nginx.pid");
        sh::until(PATIENCE, "nginx listens", || std::fs::metadata(&pid).is_ok_and(|file| file.len() > 0))?;
        Ok(Site { _nginx: nginx, _dir: dir })
    }

    /// Sends requests, each over a connection of its own; returns how many a second were served.
    ///
    /// # Errors
    /// Where ab fails, or any request did.
    pub(super) fn load(&self, requests: u64, concurrency: u64) -> Result<f64> {
        let mut command = Command::new("ab");
        command.args(["-q", "-n", &requests.to_string(), "-c", &concurrency.to_string()]);
        speed(&sh::read(command.arg(format!("http://{ADDRESS}/")))?)
    }
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nworker_processes 2;\npid {dir}/nginx.pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 0;\n  client_body_temp_path {dir}/body;\n  \
         proxy_temp_path {dir}/proxy;\n  fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  \
         scgi_temp_path {dir}/scgi;\n  server {{\n    listen {ADDRESS} backlog=4096;\n    \
         location / {{ return 200 \"hello\\n\"; }}\n  }}\n}}\n"
    )
}

/// The requests a second in ab's report.
fn speed(report: &str) -> Result<f64> {
    let field = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match field("Failed requests:") {
        Some("0") => {}
        failed => bail!("ab: failed requests: {}", failed.unwrap_or("unknown")),
    }
    let speed = field("Requests per second:").and_then(|value| value.split(' ').next()?.parse().ok());
    speed.ok_or_else(|| anyhow!("ab's report names no requests per second:\n{}", sh::tail(report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_read_and_failures_are_not_overlooked() {
        let report = "Failed requests:        0\nRequests per second:    20345.67 [#/sec] (mean)\n";
        assert!((speed(report).unwrap() - 20345.67).abs() < 1e-9);
        assert!(speed(&report.replace(" 0\n", " 3\n")).is_err());
        assert!(speed("Failed requests: 0\n").is_err());
        assert!(speed("").is_err());
    }
}
