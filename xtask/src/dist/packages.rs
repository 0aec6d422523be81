//! The packages for Debian's and Red Hat's families, by cargo-deb and cargo-generate-rpm.
//!
//! Owns: how these tools are called; what is in a package stands in twtrace/Cargo.toml. Must not know: how parts are made.

use super::Job;
use super::program::PROFILE;
use crate::{install, sh};
use anyhow::Result;

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
