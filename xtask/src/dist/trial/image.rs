//! The image in Podman, with no more than packaging/compose.yaml gives it: it says its version, and sees this machine's sockets.
//!
//! Owns: Podman with everything it keeps in one folder, a small exact load. Must not know: how the image is made.

use super::super::{Artefacts, VERSION};
use super::Skipped;
use crate::sh;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use twtrace_kit::wait::until_true;

/// Connections of the load: a prime.
const CONNECTIONS: usize = 101;

/// How long the container may take to attach, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Inode of the machine's first PID namespace: `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

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
        for place in ["/sys/kernel/tracing", "/sys/fs/cgroup", "/etc/machine-id"] {
            if Path::new(place).exists() {
                command.arg(format!("--volume={place}:{place}:ro"));
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
    sh::as_root("true").map_err(|error| Skipped(format!("{error:#}")))?;
    if std::fs::read_link("/proc/self/ns/pid")?.to_string_lossy() != FIRST_PID_NAMESPACE {
        return Err(Skipped(
            "in a PID namespace (a container): the kernel tells other pids than are seen here".to_owned(),
        )
        .into());
    }
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
    let pid = std::process::id();
    let ours =
        |event: &&Value| event["event"] == "created" && event["pid"] == pid && event["comm"] == "xtask";
    let count = told.iter().filter(ours).count();
    let strange =
        told.iter().find(|event| event["event"] == "lost" || event["event"] == "created" && !ours(event));
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
    let ready = out.join("ready");
    let attached =
        until_true("the container to trace", PATIENCE, || Ok(ready.exists() || tracer.has_ended()));
    let said = || std::fs::read_to_string(out.join("stderr")).unwrap_or_default();
    if attached.is_err() || !ready.exists() {
        bail!("it did not attach: {}", said());
    }
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
    let text = std::fs::read_to_string(out.join("events"))?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

/// So many connections over loopback, each closed by the client first, which is this process.
fn load() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    for _ in 0..CONNECTIONS {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"x")?;
        client.shutdown(Shutdown::Write)?;
        server.read_to_end(&mut Vec::new())?;
        drop(server);
        ensure!(client.read(&mut [0])? == 0, "the server closes second");
    }
    Ok(())
}
