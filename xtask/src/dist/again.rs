//! Whether a build elsewhere comes to the same bytes.
//!
//! Owns: the second folder, comparing. Must not know: how anything is made.

use super::program::Tree;
use super::{Artefacts, Job, name, stage};
use crate::{project, sh};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Makes everything once more, of the same files in another folder and with nothing built there before, and compares.
///
/// # Errors
/// Where something cannot be made there, or is other bytes; then both are left for a look.
pub(super) fn check(first: &Job) -> Result<()> {
    let elsewhere = project::target_dir().join("dist-again");
    stage::fresh(&elsewhere)?;
    let root = elsewhere.join("a-folder-of-another-length");
    copy_tree(&first.tree.root, &root)?;
    let tree = Tree { target_dir: root.join("target"), root, ..first.tree.clone() };
    let made = Artefacts { folder: elsewhere.join("made"), ..first.made };
    let second = Job { tree, made, epoch: first.epoch };
    second.make()?;
    let differing = differing(&first.made, &second.made)?;
    if !differing.is_empty() {
        let (one, other) = (first.made.folder.display(), second.made.folder.display());
        bail!("other bytes from another folder: {}; compare {one} and {other}", differing.join(", "));
    }
    println!(
        "built twice, in {} and in {}: the same bytes",
        first.tree.root.display(),
        second.tree.root.display()
    );
    std::fs::remove_dir_all(&elsewhere).with_context(|| elsewhere.display().to_string())
}

/// The files that git knows, as they are now.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let list = sh::read(Command::new("git").arg("-C").arg(from).args(["ls-files", "-z"]))?;
    for file in list.split('\0').filter(|file| !file.is_empty()) {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(from.join(file))?.permissions());
        stage::copy(&from.join(file), &to.join(file), mode & 0o777)?;
    }
    Ok(())
}

/// Names of those that are not the same bytes in both.
fn differing(one: &Artefacts, other: &Artefacts) -> Result<Vec<String>> {
    let mut differing = Vec::new();
    let pairs = one.all().into_iter().zip(other.all()).chain([(one.sums(), other.sums())]);
    for (one, other) in pairs {
        if std::fs::read(&one)? != std::fs::read(&other)? {
            differing.push(name(&one));
        }
    }
    Ok(differing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = [&one, &other].map(|dir| Artefacts { folder: dir.path().to_owned(), arch: Arch::Arm64 });
        for artefacts in &made {
            for path in artefacts.all().iter().chain([&artefacts.sums()]) {
                std::fs::write(path, "same").unwrap();
            }
        }
        assert!(differing(&made[0], &made[1]).unwrap().is_empty());
        std::fs::write(made[1].rpm(), "other").unwrap();
        assert_eq!(differing(&made[0], &made[1]).unwrap(), [name(&made[0].rpm())]);
    }
}
