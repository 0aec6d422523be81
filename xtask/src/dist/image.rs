//! The image of a container with nothing but the program, by buildah, from packaging/Containerfile.
//!
//! Owns: how buildah is called, with all that it keeps in a folder of ours. Must not know: what is in the image.

use super::{Job, VERSION, archive, stage};
use crate::sh;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// Where Debian has certificates of roots, all in one file.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Writes the image as an OCI archive.
///
/// # Errors
/// Where buildah fails.
pub(super) fn write(job: &Job) -> Result<()> {
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
    archive::pack(job, &layout, &["blobs", "index.json", "oci-layout"], &job.made.image())
}

/// buildah, whose storage goes with our parts.
fn buildah(job: &Job, work: &Path) -> Result<Command> {
    let mut command = job.command("buildah");
    command.arg("--root").arg(work.join("storage")).arg("--runroot").arg(work.join("run"));
    command.args(["--storage-driver", "vfs"]);
    Ok(command)
}
