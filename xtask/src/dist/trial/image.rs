//! The image in Podman, with no more than packaging/compose.yaml gives it: it says its version, and sees this machine's sockets.
//!
//! Owns: Podman with everything it keeps in one folder. Must not know: how the image is made.

use super::super::{Artefacts, VERSION};
use super::load::{CONNECTIONS, PATIENCE, attached, can_trace, is_ours, load};
use crate::sh;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// As packaging/compose.yaml has it. Limits are not raised: that would take a capability that a machine for tests may lack.
const RIGHTS: [&str; 28] = [
    "--pid",
    "host",
    "--network",
    "host",
    "--read-only",
    "--cap-drop",
    "ALL",
    "--cap-add",
    "BPF",
    "--cap-add",
    "PERFMON",
    "--cap-add",
    "SYSLOG",
    "--cap-add",
    "SYS_ADMIN",
    "--cap-add",
    "SYS_PTRACE",
    "--cap-add",
    "DAC_READ_SEARCH",
    "--security-opt",
    "no-new-privileges",
    "--security-opt",
    "seccomp=unconfined",
    "--tmpfs",
    "/run",
    "--ulimit=nofile=1024:1024",
    "--name",
    NAME,
];
/// What the container that runs is called.
const NAME: &str = "twtrace-trial";

/// Podman with a storage of its own.
struct Podman {
    dir: PathBuf,
    image: String,
}

impl Podman {
    fn command(&self) -> Result<Command> {
        let mut command = sh::as_root("podman")?;
        for (flag, folder) in [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(self.dir.join(folder));
        }
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "runc",
            "--events-backend",
            "file",
        ]);
        Ok(command)
    }

    /// `podman run` of the image, with `rest` for twtrace.
    fn twtrace(&self, mounts: &[String], rest: &[&str]) -> Result<Command> {
        let mut command = self.command()?;
        command.args(["run", "--rm", "--ulimit=nproc=1024:1024"]).args(RIGHTS);
        for path in ["/sys/kernel/tracing", "/sys/fs/cgroup", "/etc/machine-id"] {
            if Path::new(path).exists() {
                command.arg(format!("--volume={path}:{path}:ro"));
            }
        }
        command.args(mounts.iter().map(|mount| format!("--volume={mount}"))).arg(&self.image).args(rest);
        Ok(command)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Its storage has files that only root may remove.
        let gone = sh::as_root("rm")
            .and_then(|mut rm| sh::read(rm.arg("--recursive").arg("--force").arg(&self.dir)));
        if let Err(error) = gone {
            eprintln!("dist: {error:#}");
        }
    }
}

/// Loaded, run, checked, and it tells who made each of the load's sockets.
pub(super) fn traces(made: &Artefacts) -> Result<()> {
    can_trace()?;
    let dir = tempfile::Builder::new().prefix("twtrace-dist-").tempdir()?.keep();
    let mut podman = Podman { dir, image: String::new() };
    let loaded = sh::read(podman.command()?.args(["load", "--quiet", "--input"]).arg(made.image()))?;
    podman.image = loaded.trim().strip_prefix("Loaded image: ").context(loaded.clone())?.to_owned();
    ensure!(podman.image == format!("localhost/twtrace:{VERSION}"), "it is called {}", podman.image);
    let said = sh::read(&mut podman.twtrace(&[], &["--version"])?)?;
    ensure!(said == format!("twtrace {VERSION}\n"), "it says: {said}");
    let checked = sh::read(&mut podman.twtrace(&[], &["check"])?)?;
    ensure!(checked.contains("\ntwtrace will use "), "twtrace check: {checked}");
    let told = load_beside(&podman)?;
    let count = told.iter().filter(|event| is_ours(event)).count();
    let strange =
        told.iter().find(|event| event["event"] == "lost" || event["event"] == "created" && !is_ours(event));
    ensure!(count == CONNECTIONS && strange.is_none(), "told {count} of {CONNECTIONS}; {strange:?}");
    Ok(())
}

/// Traces this process in a container while it makes the load, and returns what was told.
fn load_beside(podman: &Podman) -> Result<Vec<Value>> {
    let out = podman.dir.join("out");
    std::fs::create_dir(&out)?;
    let pid = std::process::id().to_string();
    let mounts = [format!("{}:/out", out.display())];
    let args = ["events", "--json", "--ready-file", "/out/ready", "--pid", &pid];
    let mut command = podman.twtrace(&mounts, &args)?;
    command.stdin(Stdio::null()).stdout(std::fs::File::create(out.join("events"))?);
    command.stderr(std::fs::File::create(out.join("stderr"))?);
    let mut tracer = sh::guarded(&mut command)?;
    let said = || std::fs::read_to_string(out.join("stderr")).unwrap_or_default();
    attached(&tracer, &out.join("ready")).with_context(said)?;
    load()?;
    let listed =
        sh::read(podman.command()?.args(["exec", NAME, "/usr/bin/twtrace", "list", "--json", "--pid", &pid]));
    let listed = listed.with_context(said)?;
    let count = listed.lines().filter(|line| line.contains("\"comm\":\"xtask\"")).count();
    ensure!(
        count == CONNECTIONS,
        "`twtrace list` beside it knows the owner of {count} of {CONNECTIONS}: {listed}"
    );
    // podman hands it on.
    tracer.stop(Signal::SIGTERM, PATIENCE).with_context(said)?;
    super::load::events(&std::fs::read_to_string(out.join("events"))?)
}
