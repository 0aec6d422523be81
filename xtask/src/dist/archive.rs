//! The archive for those who have no packages, and the sums of everything.
//!
//! Owns: the archive's folders, archives that are the same bytes each time. Must not know: how parts are made.

use super::{Artefacts, Job, name, stage};
use crate::{ebpf, sh};
use anyhow::{Context, Result};
use std::path::Path;

/// Writes the `.tar.gz`.
///
/// # Errors
/// Where a part is missing or tar fails.
pub(super) fn write(job: &Job) -> Result<()> {
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
pub(super) fn pack(job: &Job, from: &Path, what: &[&str], to: &Path) -> Result<()> {
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
