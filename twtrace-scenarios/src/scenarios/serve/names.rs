//! Owns: a real container, made by Podman from a local root file system: its names, asked at Podman's own socket, in metrics and recordings.
//! Must not know: Podman's API.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::AT;
use crate::http::Metrics;
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;
use crate::wait::{PATIENCE, until_true};

const CONTAINER: &str = "twtrace-scenarios-web";
const IMAGE: &str = "localhost/twtrace-scenarios:17";
const POD: &str = "web-17";
const NAMESPACE: &str = "shop";
/// What the container runs: it connects twice, and each time closes first, once it got a byte; then it stays.
const PROGRAM: &str = "my $port = shift; for (1..2) { socket(S, 2, 1, 0) or die; \
    connect(S, pack('Sna4x8', 2, $port, pack('C4', 127, 0, 0, 1))) or die; sysread(S, $_, 1); close(S); } sleep 600;";

/// Podman with everything it keeps in one folder.
struct Podman {
    dir: TempDir,
    service: Option<Child>,
}

impl Podman {
    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        let at = |name: &str| self.dir.path().join(name);
        command
            .arg("--root")
            .arg(at("storage"))
            .arg("--runroot")
            .arg(at("run"))
            .arg("--tmpdir")
            .arg(at("tmp"));
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
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let done = self.command().args(args).output().context("starting podman")?;
        ensure!(done.status.success(), "podman {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("podman.sock")
    }

    fn serve(&mut self) -> Result<()> {
        let mut command = self.command();
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", self.socket().display()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: one system call between fork and exec; nothing is allocated, no lock is taken.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        self.service = Some(command.spawn().context("starting podman's service")?);
        until_true("podman's socket", PATIENCE, || Ok(self.socket().exists()))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "--force", "--time", "0", CONTAINER]);
        if let Some(service) = &mut self.service {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

/// Puts a program and the libraries that it is linked with below `root`.
fn install(program: &str, root: &Path) -> Result<()> {
    let said = Command::new("ldd").arg(program).output().context("starting ldd")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let libraries = said.split_whitespace().filter(|word| word.starts_with('/'));
    for file in std::iter::once(program).chain(libraries) {
        let to = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(file, &to).with_context(|| format!("copying {file}"))?;
    }
    Ok(())
}

/// Makes an image of Perl alone, and a container of it that connects to `port` in this network namespace.
fn start(podman: &Podman, port: u16) -> Result<()> {
    let root = podman.dir.path().join("root");
    install("/usr/bin/perl", &root)?;
    let archive = podman.dir.path().join("root.tar");
    let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status()?;
    ensure!(packed.success(), "tar: {packed}");
    podman.run(&["import", "--quiet", &archive.display().to_string(), IMAGE])?;
    let (pod, namespace) =
        (format!("io.kubernetes.pod.name={POD}"), format!("io.kubernetes.pod.namespace={NAMESPACE}"));
    // Limits that are not raised: that would take a capability that a test's machine may lack.
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let args =
        ["run", "--detach", "--name", CONTAINER, "--network", "host", "--label", &pod, "--label", &namespace];
    let program = [IMAGE, "/usr/bin/perl", "-e", PROGRAM, &port.to_string()];
    podman.run(&[&args[..], &limits, &program].concat())?;
    Ok(())
}

/// Lets the container's next connection be closed.
fn next_connection(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    std::io::Write::write_all(&mut stream, b"x")?;
    ensure!(std::io::Read::read(&mut stream, &mut [0; 8])? == 0, "it closes first");
    Ok(())
}

/// The name of the metric that has it all, with labels.
fn wanted(id: &str) -> Vec<(String, f64)> {
    let container = format!("podman:{}", id.get(..12).unwrap_or(id));
    let info = format!(
        "container=\"{container}\",container_name=\"{CONTAINER}\",image=\"{IMAGE}\",pod=\"{POD}\",namespace=\"{NAMESPACE}\""
    );
    let owner = format!(
        "program=\"perl\",unit=\"\",container=\"{container}\",pod=\"{POD}\",namespace=\"{NAMESPACE}\",role=\"client\""
    );
    vec![
        (format!("twtrace_container_info{{{info}}}"), 1.0),
        (format!("twtrace_owner_sockets_created_total{{{owner}}}"), 1.0),
    ]
}

/// Names are there a moment after the container's first socket, in metrics, and with its next event in the recording.
pub(in crate::scenarios) fn of_containers(sandbox: &mut Sandbox) -> Result<()> {
    let mut podman = Podman { dir: TempDir::with_prefix("twtrace-scenarios-")?, service: None };
    podman.serve()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let SocketAddr::V4(address) = listener.local_addr()? else { bail!("no IPv4") };
    let netns = sandbox.netns().to_string();
    let elsewhere = sandbox.actor("elsewhere")?;
    elsewhere.unshare()?;
    let home = fs::File::open("/proc/thread-self/ns/net")?;
    setns(elsewhere.netns_file()?, CloneFlags::CLONE_NEWNET)?;
    let recordings = podman.dir.path().join("recordings");
    let (socket, folder) = (podman.socket(), recordings.display().to_string());
    let socket = socket.display().to_string();
    let args =
        ["--netns", &netns, "--runtime-socket", &socket, "--record", &folder].map(std::ffi::OsStr::new);
    let twtrace = sandbox.setup.twtrace.clone();
    let mut tracer = Tracer::launch_changed(&sandbox.setup, "serve", &args, (None, None), |_| {})?;
    tracer.ready()?;
    setns(&home, CloneFlags::CLONE_NEWNET)?;
    start(&podman, address.port())?;
    let id = podman.run(&["inspect", "--format", "{{.Id}}", CONTAINER])?;
    next_connection(&listener)?;
    sandbox.created_untold(2);
    setns(elsewhere.netns_file()?, CloneFlags::CLONE_NEWNET)?;
    let want = wanted(&id);
    let want: Vec<(&str, f64)> = want.iter().map(|(series, value)| (series.as_str(), *value)).collect();
    let mut wrong = Vec::new();
    let told = until_true("the names", PATIENCE, || {
        wrong = Metrics::scrape(AT)?.differences(&want);
        Ok(wrong.is_empty())
    });
    told.with_context(|| format!("{wrong:?}"))?;
    next_connection(&listener)?;
    let created = || Ok(Metrics::scrape(AT)?.sum("twtrace_sockets_created_total") == 2.0);
    until_true("the second socket", PATIENCE, created)?;
    let ended = tracer.stop(Signal::SIGTERM)?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    let mut export = Command::new(twtrace);
    export.args(["export", "--to", "jsonl", "-o", "-"]).arg(recordings.join("twtrace.0.twt"));
    let lines = String::from_utf8(export.output()?.stdout)?;
    let events: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let last = events.iter().rfind(|event| event["event"] == "created").context("a created event")?;
    for (key, want) in
        [("container_name", CONTAINER), ("image", IMAGE), ("pod", POD), ("pod_namespace", NAMESPACE)]
    {
        ensure!(last[key] == want, "{key} of {last}");
    }
    Ok(())
}
