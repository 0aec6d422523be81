//! `cargo xtask install`: what the tests need on a Debian machine, and only what is not there yet.
//!
//! Owns: the lists of packages and tools. Must not know: what the tests do with them.

use crate::arch::Arch;
use crate::ebpf::{BPF_LINKER_VERSION, debian_llvm_major, linkers};
use crate::{project, sh};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use twtrace_kit::command::which;

/// Packages that tests cannot do without, and a program by which each is known to be there.
const NEEDED: [(&str, &str); 11] = [
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("iproute2", "ss"),
    ("xz-utils", "xz"),
    ("nginx-light", "nginx"),
    ("apache2-utils", "ab"),
    ("bpftool", "bpftool"),
    ("tmux", "tmux"),
    ("prometheus", "prometheus"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("chromium-headless-shell", "chromium-headless-shell"),
];

/// Packages that some archives lack. Without the BPF compiler the object is checked against its sources only, without
/// the keyring kernels cannot be fetched, without libbpf-tools and bpftrace `bench` compares with less, without podman, containerd and runc no scenario has a real container.
const WELCOME: [&str; 10] = [
    "debian-archive-keyring",
    "libbpf-tools",
    "bpftrace",
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev-bpf",
    "rust-web-src",
    "podman",
    "containerd",
    "runc",
];

/// Packages that are wanted as programs, and start services when they are installed: on ports of their own, or for containers of others.
const SERVICES: [(&str, &str); 3] =
    [("nginx-light", "nginx"), ("prometheus", "prometheus"), ("containerd", "containerd")];

/// Other programs that read recordings, check JSON and manifests against schemas, and take what is exported, as they were when that was tried.
const READERS: [&str; 8] = [
    "pyarrow==26.0.1",
    "duckdb==2.0.0",
    "jsonschema==4.26.0",
    "opentelemetry-proto==1.45.2",
    "grpcio==1.85.3",
    "kubernetes-validate==1.37.0",
    "chdb==4.4.0",
    "polars==2.1.0",
];
/// What of those is imported to see whether they are there.
const IMPORTS: &str = "import pyarrow, duckdb, jsonschema, opentelemetry.proto.metrics.v1.metrics_pb2, grpc, kubernetes_validate, chdb, polars";

/// Programs that make packages, and their versions: they go under the target folder, as bpf-linker does.
const PACKAGERS: [(&str, &str); 3] =
    [("cargo-cyclonedx", "0.5.9"), ("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];
/// Packages of Debian for what is made by `cargo xtask dist`, and for trying it.
const FOR_DIST: [(&str, &str); 2] = [("buildah", "buildah"), ("ca-certificates", "update-ca-certificates")];
const FOR_TRIALS: [(&str, &str); 5] = [
    ("debootstrap", "debootstrap"),
    ("podman", "podman"),
    ("runc", "runc"),
    ("rpm", "rpm"),
    ("binutils", "readelf"),
];

/// Debian's cross tools and the emulator: only for those who ask for arm64.
const FOR_ARM64: [(&str, &str); 4] = [
    ("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"),
    ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.a"),
    ("qemu-system-arm", "qemu-system-aarch64"),
    ("qemu-user-static", "qemu-aarch64-static"),
];

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Installs what building for an architecture takes, where that is not there.
///
/// # Errors
/// Where something cannot be had.
pub(crate) fn for_arch(arch: Arch) -> Result<()> {
    if arch == Arch::Amd64 || arch.is_own() {
        return Ok(());
    }
    install_missing(FOR_ARM64.iter())?;
    if which("rustup").is_none() {
        // A distribution's: what is missing the compiler says.
        return Ok(());
    }
    let added = sh::run(Command::new("rustup").args(["target", "add", arch.target()]));
    added.with_context(|| format!("Rust's standard library for {}", arch.target()))
}

/// Installs those packages whose program (a file, where it begins with a slash) is not there.
fn install_missing<'a>(wanted: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Result<()> {
    let is_there = |program: &str| match program.starts_with('/') {
        true => Path::new(program).exists(),
        false => which(program).is_some(),
    };
    let missing: Vec<&str> =
        wanted.filter(|(_, program)| !is_there(program)).map(|(package, _)| *package).collect();
    if !missing.is_empty() && which("apt-get").is_none() {
        bail!("this is no Debian; install what Debian has in these packages: {}", missing.join(", "));
    }
    Apt { updated: false }.install(&missing)
}

/// Installs what `cargo xtask dist` needs, and where it tries what it made, what that needs.
///
/// # Errors
/// Where something cannot be had.
pub(crate) fn for_dist(trials: bool) -> Result<()> {
    install_missing(FOR_DIST.iter().chain(FOR_TRIALS.iter().filter(|_| trials)))?;
    for (name, version) in PACKAGERS {
        let is_there = sh::read(Command::new("cargo").args(["install", "--list", "--root"]).arg(tools()));
        if !is_there.is_ok_and(|list| list.contains(&format!("{name} v{version}:"))) {
            sh::run(cargo_install(name, version).arg("--root").arg(tools()))?;
        }
    }
    Ok(())
}

/// A program that [`for_dist`] installs.
pub(crate) fn tool(name: &str) -> PathBuf {
    tools().join("bin").join(name)
}

fn tools() -> PathBuf {
    project::target_dir().join("tools")
}

fn cargo_install(name: &str, version: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["install", name, "--quiet", "--locked", "--version", version]);
    // Flags for our own crates are none of its business.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// The Python with [`READERS`], if there is one.
pub(crate) fn python() -> Option<PathBuf> {
    let python = tools().join("python/bin/python");
    sh::succeeds(Command::new(&python).args(["-c", IMPORTS])).then_some(python)
}

/// Runs the command.
pub(crate) fn main(_: &Args) -> Result<()> {
    components()?;
    let needed = NEEDED.iter().filter(|(_, program)| which(program).is_none()).map(|(package, _)| *package);
    let needed: Vec<&str> = needed.collect();
    if which("apt-get").is_none() {
        if !needed.is_empty() {
            bail!("this is no Debian; install what Debian has in these packages: {}", needed.join(", "));
        }
        println!("install: no apt-get here; everything that tests cannot do without is there");
        return Ok(());
    }
    let mut apt = Apt { updated: false };
    apt.install(&needed)?;
    stop_services(&needed);
    // A program of that name may be another's: Docker's own containerd would have to go for Debian's.
    let is_there = |package: &str| is_installed(package) || which(package).is_some();
    let welcome: Vec<&str> = WELCOME.into_iter().filter(|package| !is_there(package)).collect();
    apt.install_what_there_is(&welcome)?;
    stop_services(&welcome);
    readers(&mut apt);
    match debian_llvm_major() {
        Some(llvm) => bpf_linker(&mut apt, &llvm),
        None => {
            println!("install: no distribution's rustc for BPF, so no bpf-linker for it");
            Ok(())
        }
    }
}

/// Those of the toolchain that checks need: a minimal rustup has neither.
///
/// # Errors
/// Where one is not there and cannot be had.
pub(crate) fn components() -> Result<()> {
    for (component, program) in [("clippy", "cargo-clippy"), ("rustfmt", "cargo-fmt")] {
        if sh::succeeds(Command::new(program).arg("--version")) {
            continue;
        }
        if which("rustup").is_none() {
            bail!("there is no {program}; install {component} from where your Rust came from");
        }
        sh::run(Command::new("rustup").args(["component", "add", component]))?;
    }
    Ok(())
}

/// bpf-linker must be of the LLVM that the compiler has; it goes under the target folder, not among the user's tools.
fn bpf_linker(apt: &mut Apt, llvm: &str) -> Result<()> {
    if let Some((path, _)) = linkers(llvm).iter().find(|(_, version)| version == BPF_LINKER_VERSION) {
        println!("install: bpf-linker {BPF_LINKER_VERSION} is there: {}", path.display());
        let objcopy = format!("llvm-{llvm}");
        return if is_installed(&objcopy) { Ok(()) } else { apt.install(&[&objcopy]) };
    }
    let development = format!("llvm-{llvm}-dev");
    if !is_installed(&development) {
        apt.install(&[&development])?;
    }
    let mut command = cargo_install("bpf-linker", BPF_LINKER_VERSION);
    command.args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"]).arg(tools());
    sh::run(command.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}")))
}

/// A Python of its own under the target folder. Tests of what others read of a recording are skipped without.
fn readers(apt: &mut Apt) {
    if let Some(python) = python() {
        println!("install: a Python with {} is there: {}", READERS.join(" and "), python.display());
        return;
    }
    let home = tools().join("python");
    let make = || sh::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    let made = make().or_else(|_| apt.install(&["python3-venv"]).and_then(|()| make()));
    let pip = || sh::run(Command::new(home.join("bin/pip")).args(["install", "--quiet"]).args(READERS));
    if let Err(error) = made.and_then(|()| pip()) {
        println!("install: going on without {}: {error:#}", READERS.join(" and "));
    }
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    sh::output(&mut query).is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// The machine's own apt; its lists are brought up to date once, and only where something is missing.
struct Apt {
    updated: bool,
}

impl Apt {
    fn update(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.updated, true) {
            return Ok(());
        }
        let update = sh::run(sh::as_root("env")?.args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "update",
            "--quiet",
        ]));
        if let Err(error) = update {
            // Sources that have nothing to do with us may be out of reach; what we need may be there all the same.
            eprintln!("install: going on with the package lists there are: {error:#}");
        }
        Ok(())
    }

    fn install(&mut self, packages: &[&str]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        self.update()?;
        let mut command = sh::as_root("env")?;
        // RUNLEVEL=1: what a package would start as a service is not to be started (System V; for systemd see below).
        command.args([
            "DEBIAN_FRONTEND=noninteractive",
            "RUNLEVEL=1",
            "apt-get",
            "install",
            "--yes",
            "--quiet",
        ]);
        command.args(["--no-install-recommends"]).args(packages);
        sh::run(&mut command).with_context(|| format!("install by hand: {}", packages.join(" ")))
    }

    fn install_what_there_is(&mut self, packages: &[&str]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        self.update()?;
        let (there, missing): (Vec<&str>, Vec<&str>) = packages.iter().partition(|package| {
            sh::succeeds(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
        });
        for package in missing {
            println!("install: this machine's archives have no {package}; going on without");
        }
        self.install(&there)
    }
}

/// Stops those of [`SERVICES`] whose packages have just been installed.
fn stop_services(installed: &[&str]) {
    for (_, service) in SERVICES.iter().filter(|(package, _)| installed.contains(package)) {
        stop(service);
    }
}

fn stop(service: &str) {
    let words: &[&str] = if Path::new("/run/systemd/system").exists() {
        &["systemctl", "disable", "--now", service]
    } else if Path::new("/etc/init.d").join(service).exists() {
        &["service", service, "stop"]
    } else {
        return;
    };
    if let Err(error) = sh::as_root(words[0]).and_then(|mut command| sh::run(command.args(&words[1..]))) {
        eprintln!("install: the {service} service may be running: {error:#}");
    }
}
