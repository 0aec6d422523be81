//! Owns: a containerd of a scenario's own, with everything it keeps in one folder, and an image made of one program.
//! Must not know: what its pods do.
//!
//! It is the first process of a PID namespace and has mounts of its own: when it goes, all that it started goes with it, and no mount stays.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::child::{Guarded, end_with_us};
use twtrace_kit::command::read;
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::around::{fresh_proc, in_pid_namespace, own_mounts};
use crate::cri::Cri;

/// Where it listens unless it is told otherwise, as it does here: in a /run of the scenario's own.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// The cgroup, just below the root, that a kubelet has here for its own. Nobody else has one of this name.
pub(crate) const KUBELET: &str = "twtrace-scenarios-kubelet";
/// The one of containers whose pod has none: any containerd's.
const OWN: &str = "k8s.io";

/// Nothing of it is outside of `dir`; no network is made for pods, no image is fetched.
const CONFIG: &str = r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.overlayfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{dir}/cni"
conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"#;

/// See the head of the file.
pub(crate) struct Containerd {
    dir: TempDir,
    child: Guarded,
    /// Cgroups to be removed.
    cgroups: Vec<PathBuf>,
    /// Pods to be removed.
    pub pods: Vec<String>,
}

impl Containerd {
    /// Starts one whose pods are held by `image`. From now on the calling process has a /run of its own, where that one's socket is; it
    /// must have one thread.
    pub(crate) fn start(image: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        own_run(&dir.path().join("run"))?;
        let path = dir.path().display().to_string();
        let config = dir.path().join("config.toml");
        fs::write(&config, CONFIG.replace("{dir}", &path).replace("{image}", image))?;
        let cgroups = cgroups()?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(config).stdin(Stdio::null());
        let log = File::create(dir.path().join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        end_with_us(&mut command, Signal::SIGKILL);
        // SAFETY: this process has one thread, so what the child does between fork and exec meets no lock that is held.
        unsafe { command.pre_exec(fresh_proc) };
        let child = in_pid_namespace(|| Guarded::spawn(&mut command))?;
        let containerd = Self { dir, child, cgroups, pods: Vec::new() };
        let there = until_true("containerd's socket", PATIENCE, || Ok(containerd.cri().is_there()));
        there.with_context(|| containerd.log())?;
        Ok(containerd)
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its socket.
    pub(crate) fn cri(&self) -> Cri {
        Cri::new(Path::new(SOCKET))
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Takes in an image of the files below `root`, which runs `program` unless told otherwise.
    pub(crate) fn import(&self, root: &Path, image: &str, program: &[&str]) -> Result<()> {
        let dir = self.dir.path().join("image");
        fs::create_dir(&dir)?;
        tar(root, ".", &dir.join("layer.tar"))?;
        let sum = read(Command::new("sha256sum").arg(dir.join("layer.tar")))?;
        let sum = sum.split_whitespace().next().context("a checksum of the layer")?;
        let config = serde_json::json!({
            "architecture": architecture(), "os": "linux", "config": { "Cmd": program },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
        });
        fs::write(dir.join("config.json"), config.to_string())?;
        let manifest =
            [serde_json::json!({ "Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"] })];
        fs::write(dir.join("manifest.json"), serde_json::to_string(&manifest)?)?;
        let archive = self.dir.path().join("image.tar");
        tar(&dir, "manifest.json config.json layer.tar", &archive)?;
        let mut ctr = Command::new("ctr");
        ctr.args([
            "--address",
            SOCKET,
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--snapshotter",
            "native",
        ]);
        read(ctr.arg(archive))?;
        until_true("the image", PATIENCE, || self.cri().has_image(image))
    }

    /// Removes its pods, as whoever made them does.
    pub(crate) fn remove_pods(&mut self) -> Result<()> {
        while let Some(id) = self.pods.last() {
            self.cri().remove_pod(id)?;
            self.pods.pop();
        }
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Only where a scenario failed are there any; its cgroups go below all the same.
        let _ = self.remove_pods();
        // The first process of a PID namespace is waited for until the namespace is empty.
        self.child.end();
        self.cgroups.iter().for_each(|dir| remove_cgroups(dir));
    }
}

/// A /run of this process's own, kept in `dir`.
fn own_run(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    own_mounts().context("mounts of its own, which need CAP_SYS_ADMIN")?;
    mount(Some(dir), "/run", None::<&str>, MsFlags::MS_BIND, None::<&str>).context("a /run of its own")
}

/// [`KUBELET`], and [`OWN`] where nobody has made it yet, in each hierarchy.
fn cgroups() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let fields = mounts.lines().map(|line| line.split(' '));
    let roots = fields.filter_map(|mut fields| {
        let root = fields.nth(1)?;
        fields.next()?.starts_with("cgroup").then_some(root)
    });
    let all = roots.flat_map(|root| [OWN, KUBELET].map(|name| Path::new(root).join(name)));
    Ok(all.filter(|dir| dir.ends_with(KUBELET) || !dir.exists()).collect())
}

fn remove_cgroups(dir: &Path) {
    for inner in fs::read_dir(dir).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&inner.path());
        }
    }
    // One that is in use by others is not ours to remove, and the kernel does not.
    let _ = fs::remove_dir(dir);
}

/// What images call this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn tar(from: &Path, names: &str, to: &Path) -> Result<()> {
    read(Command::new("tar").arg("-C").arg(from).arg("-cf").arg(to).args(names.split(' '))).map(drop)
}
