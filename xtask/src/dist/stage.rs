//! The parts of which packages are made, laid out below target/…/dist/parts: pages, completions, texts.
//!
//! Owns: what these parts are, copying with modes. Must not know: any package's format.

use super::{Job, libraries};
use crate::{man, sh};
use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Texts that come with the program.
pub(super) const TEXTS: [&str; 5] =
    ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md"];

/// The licences of what the program is linked with.
pub(super) const NOTICES: &str = "THIRD-PARTY.txt";

/// Writes `man1/`, `completions/` and `doc/`.
///
/// # Errors
/// Where one cannot be made.
pub(super) fn write(job: &Job) -> Result<()> {
    let work = job.work();
    fresh(&work)?;
    man::write(job.tree.cargo(), &work)?;
    compress(&work.join("man1"))?;
    let doc = work.join("doc");
    fresh(&doc)?;
    for text in TEXTS {
        copy(&job.tree.root.join(text), &doc.join(text), 0o644)?;
    }
    let notices = doc.join(NOTICES);
    std::fs::write(&notices, libraries::notices(job)?).with_context(|| notices.display().to_string())
}

/// Compresses pages, as Debian's policy wants them; neither name nor time is in the bytes.
fn compress(pages: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name"]);
    for page in std::fs::read_dir(pages).with_context(|| pages.display().to_string())? {
        gzip.arg(page?.path());
    }
    sh::run(&mut gzip)
}

/// An empty folder.
///
/// # Errors
/// Where it cannot be emptied or made.
pub(super) fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// Copies a file, and makes folders for it.
///
/// # Errors
/// Where it cannot be read or written.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let copied = || -> std::io::Result<()> {
        std::fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
        std::fs::copy(from, to)?;
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode))
    };
    copied().with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

/// Copies all files of a folder.
///
/// # Errors
/// Where one cannot be read or written.
pub(super) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()), 0o644)?;
    }
    Ok(())
}
