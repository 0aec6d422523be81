//! Owns: a real container, made by Podman from a local root file system: its names, asked at Podman's own socket, in metrics and recordings;
//! and how names are waited for, whichever runtime says them.
//! Must not know: Podman's API.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::actor::Actor;
use twtrace_kit::child::{Guarded, end_with_us};
use twtrace_kit::command::read;
use twtrace_kit::http::Metrics;
use twtrace_kit::netns;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::AT;
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

const CONTAINER: &str = "twtrace-scenarios-web";
const IMAGE: &str = "localhost/twtrace-scenarios:17";
const POD: &str = "web-17";
const NAMESPACE: &str = "shop";
/// What the container connects.
const CREATED: usize = 2;

/// What a container runs: it connects to a port so many times, and each time closes first, once it got a byte; then it stays.
pub(super) const PERL: &str = "/usr/bin/perl";
/// See [`PERL`].
pub(super) const PROGRAM: &str = "my ($port, $count) = @ARGV; for (1..$count) { socket(S, 2, 1, 0) or die; \
    connect(S, pack('Sna4x8', 2, $port, pack('C4', 127, 0, 0, 1))) or die; sysread(S, $_, 1); close(S); } sleep 600;";

/// Podman with everything it keeps in one folder.
struct Podman {
    /// Ends before its folder goes.
    service: Option<Guarded>,
    dir: TempDir,
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
        Ok(read(self.command().args(args))?.trim().to_owned())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("podman.sock")
    }

    fn serve(&mut self) -> Result<()> {
        let mut command = self.command();
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", self.socket().display()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        end_with_us(&mut command, Signal::SIGKILL);
        self.service = Some(Guarded::spawn(&mut command)?);
        until_true("podman's socket", PATIENCE, || Ok(self.socket().exists()))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "--force", "--time", "0", CONTAINER]);
    }
}

/// Puts a program and the libraries that it is linked with below `root`.
pub(super) fn install(program: &str, root: &Path) -> Result<()> {
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
fn start(podman: &Podman, port: &str) -> Result<()> {
    let root = podman.dir.path().join("root");
    install(PERL, &root)?;
    let archive = podman.dir.path().join("root.tar");
    read(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."))?;
    podman.run(&["import", "--quiet", &archive.display().to_string(), IMAGE])?;
    let (pod, namespace) =
        (format!("io.kubernetes.pod.name={POD}"), format!("io.kubernetes.pod.namespace={NAMESPACE}"));
    // Limits that are not raised: that would take a capability that a test's machine may lack.
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let args =
        ["run", "--detach", "--name", CONTAINER, "--network", "host", "--label", &pod, "--label", &namespace];
    let program = [IMAGE, PERL, "-e", PROGRAM, port, &CREATED.to_string()];
    podman.run(&[&args[..], &limits, &program].concat())?;
    Ok(())
}

/// What a runtime says of a container, and so must twtrace.
pub(super) struct Said<'a> {
    /// As events have it: the runtime by its cgroup, and the first 12 characters of its id.
    pub(super) container: String,
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    pub(super) pod: &'a str,
    pub(super) namespace: &'a str,
}

impl Said<'_> {
    /// Series that have it all, once so many sockets of its were created.
    fn series(&self, created: usize) -> [(String, f64); 2] {
        let Self { container, name, image, pod, namespace } = self;
        let info = format!(
            "container=\"{container}\",container_name=\"{name}\",image=\"{image}\",pod=\"{pod}\",namespace=\"{namespace}\""
        );
        let owner = format!(
            "program=\"perl\",unit=\"\",container=\"{container}\",pod=\"{pod}\",namespace=\"{namespace}\",role=\"client\""
        );
        [
            (format!("twtrace_container_info{{{info}}}"), 1.0),
            (format!("twtrace_owner_sockets_created_total{{{owner}}}"), created as f64),
        ]
    }

    /// It made exactly so many of these events' sockets, and the last of them says it all.
    pub(super) fn check(&self, events: &[Value], created: usize) -> Result<()> {
        let is_its = |event: &&Value| event["event"] == "created" && event["container"] == *self.container;
        let count = events.iter().filter(is_its).count();
        ensure!(count == created, "{count} sockets of {} were created, meant {created}", self.container);
        let last = events.iter().rfind(is_its).context("a created event")?;
        let all = [
            ("container_name", self.name),
            ("image", self.image),
            ("pod", self.pod),
            ("pod_namespace", self.namespace),
        ];
        for (key, want) in all {
            ensure!(last[key] == want, "{key} of {last}, meant {want}");
        }
        Ok(())
    }
}

/// A `serve` that records, in a network namespace of its own, and somebody in the sandbox's for containers to connect to.
pub(super) struct Serving {
    tracer: Tracer,
    listener: TcpListener,
    elsewhere: Actor,
    home: fs::File,
    recording: PathBuf,
}

impl Serving {
    /// `dir` is where recordings go.
    pub(super) fn begin(sandbox: &mut Sandbox, dir: &Path, args: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let netns = sandbox.netns().to_string();
        let elsewhere = sandbox.actor("elsewhere")?;
        elsewhere.unshare()?;
        let home = netns::own()?;
        netns::enter(elsewhere.netns_file()?)?;
        let recordings = dir.join("recordings");
        let ours =
            ["--netns", &netns, "--record"].map(OsStr::new).into_iter().chain([recordings.as_os_str()]);
        let all: Vec<&OsStr> = ours.chain(args.iter().map(OsStr::new)).collect();
        let mut tracer = Tracer::launch_changed(&sandbox.setup, "serve", &all, (None, None), |_| {})?;
        tracer.ready()?;
        netns::enter(&home)?;
        Ok(Self { tracer, listener, elsewhere, home, recording: recordings.join("twtrace.0.twt") })
    }

    /// Where containers connect.
    pub(super) fn port(&self) -> Result<String> {
        Ok(self.listener.local_addr()?.port().to_string())
    }

    /// Lets a container's next connection be closed.
    fn next_connection(&self) -> Result<()> {
        let (mut stream, _) = self.listener.accept()?;
        std::io::Write::write_all(&mut stream, b"x")?;
        ensure!(std::io::Read::read(&mut stream, &mut [0; 8])? == 0, "it closes first");
        Ok(())
    }

    /// Waits until the names are told after the container's first connection, and then lets it go on to `created`.
    pub(super) fn await_names(&self, said: &Said<'_>, created: usize) -> Result<()> {
        self.next_connection()?;
        self.await_series(said, 1)?;
        for _ in 1..created {
            self.next_connection()?;
        }
        self.await_series(said, created)
    }

    fn await_series(&self, said: &Said<'_>, created: usize) -> Result<()> {
        netns::enter(self.elsewhere.netns_file()?)?;
        let want = said.series(created);
        let want = want.each_ref().map(|(series, value)| (series.as_str(), *value));
        let mut wrong = Vec::new();
        let told = until_true("the names", PATIENCE, || {
            wrong = Metrics::scrape(AT)?.differences(&want);
            Ok(wrong.is_empty())
        });
        netns::enter(&self.home)?;
        told.with_context(|| format!("{wrong:?}"))
    }

    /// Ends it. All events of its recording.
    pub(super) fn end(self, sandbox: &Sandbox) -> Result<Vec<Value>> {
        let ended = self.tracer.stop(Signal::SIGTERM)?;
        ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        let mut export = Command::new(&sandbox.setup.twtrace);
        export.args(["export", "--to", "jsonl", "-o", "-"]).arg(self.recording);
        let lines = String::from_utf8(export.output()?.stdout)?;
        Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }
}

/// Names are there a moment after the container's first socket, in metrics, and with its next event in the recording.
pub(in crate::scenarios) fn of_containers(sandbox: &mut Sandbox) -> Result<()> {
    let mut podman = Podman { service: None, dir: TempDir::with_prefix("twtrace-scenarios-")? };
    podman.serve()?;
    let socket = podman.socket().display().to_string();
    let serving = Serving::begin(sandbox, podman.dir.path(), &["--runtime-socket", &socket])?;
    start(&podman, &serving.port()?)?;
    let id = podman.run(&["inspect", "--format", "{{.Id}}", CONTAINER])?;
    let container = format!("podman:{}", id.get(..12).unwrap_or(&id));
    let said = Said { container, name: CONTAINER, image: IMAGE, pod: POD, namespace: NAMESPACE };
    serving.await_names(&said, CREATED)?;
    sandbox.created_untold(CREATED);
    said.check(&serving.end(sandbox)?, CREATED)
}
