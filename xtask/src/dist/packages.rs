//! What users install: the packages for Debian's and Red Hat's families, by cargo-deb and cargo-generate-rpm; the archive for those who have no
//! packages; the image of a container with nothing but the program, by buildah, from packaging/Containerfile; and the sums of everything.
//!
//! Owns: how these tools are called, the archive's folders, archives that are the same bytes each time. What is in a package stands in
//! twtrace/Cargo.toml. Must not know: how parts are made.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::program::PROFILE;
use super::{Artefacts, Job, VERSION, name, stage};
use crate::{ebpf, install, sh};

/// What both are told: which crate, and where its program is.
fn which(job: &Job) -> [&'static str; 6] {
    ["--package", "twtrace", "--target", job.tree.arch.target(), "--profile", PROFILE]
}

/// Writes the `.deb`.
///
/// # Errors
/// Where cargo-deb fails.
pub(super) fn deb(job: &Job) -> Result<()> {
    let mut command = job.command(install::tool("cargo-deb"));
    command.args(["deb", "--quiet", "--no-build", "--no-strip", "--locked"]).args(which(job));
    sh::run(command.arg("--output").arg(job.made.deb()))
}

/// Writes the `.rpm`.
///
/// # Errors
/// Where cargo-generate-rpm fails.
pub(super) fn rpm(job: &Job) -> Result<()> {
    let mut command = job.command(install::tool("cargo-generate-rpm"));
    command.arg("generate-rpm").args(which(job)).arg("--target-dir").arg(&job.tree.target_dir);
    sh::run(command.arg("--output").arg(job.made.rpm()))
}

/// Writes the `.tar.gz`.
///
/// # Errors
/// Where a part is missing or tar fails.
pub(super) fn archive(job: &Job) -> Result<()> {
    let top = name(&job.made.archive()).trim_end_matches(".tar.gz").to_owned();
    let (work, root) = (job.work(), job.work().join("archive"));
    let to = root.join(&top);
    stage::fresh(&to)?;
    stage::copy(&job.made.binary(), &to.join("twtrace"), 0o755)?;
    stage::copy_all(&work.join("doc"), &to)?;
    for folder in ["man1", "completions"] {
        stage::copy_all(&work.join(folder), &to.join(folder))?;
    }
    for file in ["twtrace.service", "twtrace.toml"] {
        stage::copy(&job.tree.root.join("packaging").join(file), &to.join("packaging").join(file), 0o644)?;
    }
    pack(job, &root, &[&top], &job.made.archive())
}

/// Packs `what` of the folder `from` so that neither time nor machine is in the bytes; compressed where the name says so.
///
/// # Errors
/// Where tar fails.
fn pack(job: &Job, from: &Path, what: &[&str], to: &Path) -> Result<()> {
    let mut tar = job.command("tar");
    tar.args(["--create", "--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mode=u=rwX,go=rX", &format!("--mtime=@{}", job.epoch)]);
    if to.extension().is_some_and(|extension| extension == "gz") {
        tar.arg("--use-compress-program=gzip -9 --no-name");
    }
    sh::run(tar.arg("--file").arg(to).arg("--directory").arg(from).args(what))
}

/// Writes `SHA256SUMS`, as sha256sum(1) reads it.
///
/// # Errors
/// Where a file cannot be read or written.
pub(super) fn sums(made: &Artefacts) -> Result<()> {
    let mut text = String::new();
    for path in made.all() {
        text += &format!("{}  {}\n", ebpf::sha256(&path)?, name(&path));
    }
    let sums = made.sums();
    std::fs::write(&sums, text).with_context(|| sums.display().to_string())
}

/// Where Debian has certificates of roots, all in one file.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Writes the image as an OCI archive.
///
/// # Errors
/// Where buildah fails.
pub(super) fn image(job: &Job) -> Result<()> {
    let work = job.work().join("image");
    let context = work.join("context");
    stage::fresh(&context)?;
    stage::copy(&job.made.binary(), &context.join("twtrace"), 0o755)?;
    stage::copy(Path::new(CERTIFICATES), &context.join("ca-certificates.crt"), 0o644)?;
    // Its history has sums of what was copied, with their times.
    let time = UNIX_EPOCH + Duration::from_secs(job.epoch);
    for file in ["twtrace", "ca-certificates.crt"] {
        std::fs::File::options().write(true).open(context.join(file))?.set_modified(time)?;
    }
    let tag = format!("twtrace:{VERSION}");
    let mut build = buildah(job, &work)?;
    build.args(["build", "--quiet", "--format", "oci", "--isolation", "chroot", "--os", "linux"]);
    build.args(["--arch", job.tree.arch.debian()]);
    build.args(["--timestamp", &job.epoch.to_string(), "--tag", &tag]);
    build.arg("--file").arg(job.tree.root.join("packaging/Containerfile"));
    sh::run(build.arg(&context))?;
    let layout = work.join("layout");
    sh::run(
        buildah(job, &work)?.args(["push", "--quiet", &tag]).arg(format!("oci:{}:{tag}", layout.display())),
    )?;
    // An archive that buildah writes itself bears the clock's time.
    pack(job, &layout, &["blobs", "index.json", "oci-layout"], &job.made.image())
}

/// buildah, whose storage goes with our parts.
fn buildah(job: &Job, work: &Path) -> Result<Command> {
    let mut command = job.command("buildah");
    command.arg("--root").arg(work.join("storage")).arg("--runroot").arg(work.join("run"));
    command.args(["--storage-driver", "vfs"]);
    Ok(command)
}
