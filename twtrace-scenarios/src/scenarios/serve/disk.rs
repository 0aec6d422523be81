//! Owns: a disk that is full under a recording and has room again later, and one that hangs: metrics go on meanwhile, and say what was not recorded.
//! Must not know: the format of recordings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::http::{Metrics, get};
use twtrace_kit::wait::{PATIENCE, until_true};

use super::{AT, CREATED, FAILED, Serving};
use crate::hung;
use crate::sandbox::Sandbox;
use crate::scenarios::readers::{stop_in_time, usual_end};

/// A file system of a megabyte, for as long as this lives.
struct Disk(TempDir);

impl Disk {
    fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=1m"))
            .context("mounting a tmpfs")?;
        Ok(Self(dir))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all the room that is left.
    fn fill(&self) -> Result<()> {
        let mut length = 1 << 20;
        let mut ballast = Vec::new();
        while length > 0 {
            ballast.resize(length, 0);
            match fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.path("ballast"))
                .and_then(|mut file| std::io::Write::write_all(&mut file, &ballast))
            {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => length /= 2,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// The sum of a metric's series.
fn value(name: &str) -> Result<f64> {
    Ok(Metrics::scrape(AT)?.sum(name))
}

/// How many sockets a recording says were created; `None` where it cannot be read.
fn recorded(twtrace: &Path, file: &Path) -> Result<Option<u64>> {
    let done = Command::new(twtrace).args(["report", "--json"]).arg(file).output()?;
    let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
    Ok(report["created"].as_u64().filter(|_| done.status.success()))
}

/// The recording stops, says so, and begins anew once there is room; metrics have all of it all the while.
pub(in crate::scenarios) fn full_disk(sandbox: &mut Sandbox) -> Result<()> {
    let disk = Disk::new()?;
    let twtrace = sandbox.setup.twtrace.clone();
    let serving = Serving::begin(sandbox, &["--record", &disk.0.path().display().to_string()])?;
    ensure!(value("twtrace_recording_up")? == 1.0, "it records");
    disk.fill()?;
    serving.act(sandbox)?;
    until_true("the recording to stop", PATIENCE, || Ok(value("twtrace_recording_up")? == 0.0))?;
    until_true("the metrics", PATIENCE, || Ok(value("twtrace_sockets_created_total")? == CREATED as f64))?;
    let bytes = value("twtrace_recording_bytes_total")?;
    // A try that fails as well takes no number from the file after it.
    until_true("a second try", PATIENCE, || Ok(value("twtrace_recording_failures_total")? >= 2.0))?;
    let after = value("twtrace_recording_bytes_total")?;
    ensure!(0.0 < bytes && bytes <= after, "{bytes} bytes recorded, and then {after}");
    ensure!(get(AT, "/readyz", "")? == "ready\n", "the trace goes on");
    fs::remove_file(disk.path("ballast"))?;
    until_true("the recording to go on", PATIENCE, || Ok(value("twtrace_recording_up")? == 1.0))?;
    let (told, missed) =
        (value("twtrace_recording_events_total")?, value("twtrace_recording_missed_events_total")?);
    let ended = serving.end()?;
    ensure!(
        ended.stderr.contains("cannot record") && ended.stderr.contains("recording again"),
        "{}",
        ended.stderr
    );
    ensure!(told + missed >= CREATED as f64, "{told} recorded and {missed} missed of {CREATED}");
    // The first file had come to nothing but its head: it would count as one of those that are kept. What lives is listed in the one after it.
    let created = recorded(&twtrace, &disk.path("twtrace.0.twt"))?.context("the file cannot be read")?;
    ensure!(!disk.path("twtrace.1.twt").exists(), "a second file");
    ensure!(created <= CREATED as u64, "{created} created are recorded of {CREATED}");
    Ok(())
}

/// Nothing has failed, so it records; metrics have all that the disk has not, and a signal ends it, which says how much that is.
pub(in crate::scenarios) fn hung_disk(sandbox: &mut Sandbox) -> Result<()> {
    let disk = hung::disk::Disk::mount()?;
    let usual = usual_end(sandbox)?;
    let twtrace = sandbox.setup.twtrace.clone();
    let file = disk.file().with_file_name("twtrace.0.twt");
    let serving = Serving::begin(sandbox, &["--record", &hung::text(file.parent().context("a folder")?)?])?;
    until_true("the head to be written", PATIENCE, || Ok(value("twtrace_recording_bytes_total")? > 0.0))?;
    disk.hang()?;
    serving.act(sandbox)?;
    until_true("the metrics", PATIENCE, || {
        let created = value("twtrace_sockets_created_total")?;
        Ok(created == CREATED as f64 && value("twtrace_connect_failures_total")? == FAILED as f64)
    })?;
    ensure!(value("twtrace_recording_up")? == 1.0, "nothing has failed");
    let (events, missed) =
        (value("twtrace_recording_events_total")?, value("twtrace_recording_missed_events_total")?);
    ensure!(events == 0.0 && missed == 0.0, "{events} recorded and {missed} missed: all of it waits");
    let ended = stop_in_time(serving.tracer, Signal::SIGTERM, usual)?;
    ensure!(ended.status.code() == Some(1), "{}: {}", ended.status, ended.stderr);
    let said = format!("{}: it does not take fast enough what is written to it: ", file.display());
    let rest = ended.stderr.split_once(&said).with_context(|| format!("no `{said}` in {}", ended.stderr))?.1;
    let unwritten = rest.split(' ').next().unwrap_or_default();
    let unwritten: usize = unwritten.parse().with_context(|| format!("{unwritten:?} in {}", ended.stderr))?;
    // Where TIME_WAIT is over by then, as on a slow machine, ends are among them.
    ensure!(unwritten >= CREATED + FAILED, "{unwritten} events are not written");
    ensure!(recorded(&twtrace, &disk.written())? == Some(0), "what was written is a recording");
    Ok(())
}
