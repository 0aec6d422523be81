//! A web server and its client: nginx and ab.
//!
//! Owns: both, their configuration and ab's report. Must not know: tracers.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use twtrace_kit::child::Guarded;
use twtrace_kit::command::{said, shown, unstartable, which};
use twtrace_kit::wait::{until, until_true};

use crate::generator::First;
use crate::process;
use crate::site::{Made, Owners, Site, Traffic};

const PORT: u16 = 8080;
/// How long nginx may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How ab is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) count: u64,
    /// Many requests over a connection.
    pub(crate) keep_alive: bool,
}

/// Connections that ab has open at a time.
const CONCURRENCY: u64 = 50;

/// A running server. It ends with this value.
pub(crate) struct Web {
    netns: u32,
    workers: Vec<u32>,
    /// May be changed between runs.
    pub(crate) requests: Requests,
    _nginx: Guarded,
    _dir: tempfile::TempDir,
}

impl Web {
    /// Starts nginx in the namespace that this process is in, whose inode is `netns`.
    ///
    /// # Errors
    /// Where there is no nginx, or it does not listen in time.
    pub(crate) fn start(netns: u32, requests: Requests) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("nginx.conf");
        fs::write(&config, configuration(dir.path()))?;
        let program = which("nginx").context("no nginx (Debian package nginx-light)")?;
        let mut command = Command::new(program);
        command.arg("-p").arg(dir.path()).arg("-c").arg(&config).arg("-e").arg(dir.path().join("error.log"));
        let nginx = process::start(command.stdin(Stdio::null()))?;
        let pid = dir.path().join("nginx.pid");
        until_true("nginx to listen", PATIENCE, || Ok(fs::metadata(&pid).is_ok_and(|file| file.len() > 0)))?;
        let workers = until("nginx to have its workers", PATIENCE, || {
            Ok(Some(children(nginx.id())?).filter(|workers| workers.len() == WORKERS))
        })?;
        Ok(Self { netns, workers, requests, _nginx: nginx, _dir: dir })
    }
}

impl Traffic for Web {
    fn site(&self) -> Site {
        // ab speaks HTTP/1.0: without keep-alive it is the server who closes.
        Site { netns: self.netns, port: PORT, first: First::Server }
    }

    fn unit(&self) -> &'static str {
        "requests/s"
    }

    fn run(&mut self) -> Result<Made> {
        let mut command = ab(self.requests);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let client = command
            .spawn()
            .with_context(|| format!("{} (Debian package apache2-utils)", unstartable(&command)))?;
        let mut owners = self.workers.clone();
        // At its end it closes what it has opened and does not need any more.
        owners.push(client.id());
        let output = client.wait_with_output()?;
        let text = said(&output);
        ensure!(output.status.success(), "`{}`: {}\n{text}", shown(&command), output.status);
        let Report { speed } = Report::parse(&text)?;
        let count = self.requests.count;
        Ok(Made { count, elapsed_s: count as f64 / speed, connect: None, owners: Owners::AnyOf(owners) })
    }
}

/// The client's command line.
pub(crate) fn ab(requests: Requests) -> Command {
    let mut command = Command::new("ab");
    command.args(["-q", "-n", &requests.count.to_string(), "-c", &CONCURRENCY.to_string()]);
    if requests.keep_alive {
        command.arg("-k");
    }
    command.arg(format!("http://127.0.0.1:{PORT}/"));
    command
}

/// Processes of nginx that accept and close.
const WORKERS: usize = 2;

fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).context(path)?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nworker_processes {WORKERS};\npid {dir}/nginx.pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  \
         fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  \
         server {{\n    listen 127.0.0.1:{PORT} backlog=4096;\n    location / {{ return 200 \"hello\\n\"; }}\n  }}\n}}\n"
    )
}

/// What is read of ab's report.
#[derive(Debug, PartialEq)]
struct Report {
    /// Requests a second.
    speed: f64,
}

impl Report {
    /// # Errors
    /// Where a request failed, or the report names no speed.
    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        match field("Failed requests:") {
            Some("0") => {}
            failed => bail!("ab: failed requests: {}", failed.unwrap_or("unknown")),
        }
        let speed = field("Requests per second:").and_then(|value| value.split(' ').next()?.parse().ok());
        let speed = speed.filter(|speed| *speed > 0.0);
        let speed = speed.ok_or_else(|| anyhow!("ab's report names no requests per second:\n{text}"))?;
        Ok(Self { speed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_read_and_failures_are_not_overlooked() {
        let report = "Failed requests:        0\nRequests per second:    20345.67 [#/sec] (mean)\n";
        assert_eq!(Report::parse(report).unwrap(), Report { speed: 20345.67 });
        assert!(Report::parse(&report.replace(" 0\n", " 3\n")).is_err());
        assert!(Report::parse("Failed requests: 0\n").is_err());
        assert!(Report::parse("").is_err());
        assert!(Report::parse(&report.replace("20345.67", "0.00")).is_err());
    }

    #[test]
    fn keep_alive_is_asked_for_only_where_it_is_wanted() {
        let typed = |keep_alive| shown(&ab(Requests { count: 7, keep_alive }));
        assert_eq!(typed(false), "ab -q -n 7 -c 50 http://127.0.0.1:8080/");
        assert_eq!(typed(true), "ab -q -n 7 -c 50 -k http://127.0.0.1:8080/");
    }
}
