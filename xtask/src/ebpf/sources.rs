//! The fingerprint of everything that the BPF object is built from.
//!
//! Owns: which files and packages count. Must not know: how the object is built, beyond the flags that shape it.
//! Contents are compared, never times: a fresh checkout has arbitrary mtimes.

use super::{build, hex};
use crate::project;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Folders whose files the object depends on.
const FOLDERS: [&str; 2] = ["twtrace-ebpf", "twtrace-common"];

/// aya-build only helps aya's build scripts on their way: nothing of it reaches the object.
const HELPERS: [&str; 1] = ["aya-build"];

/// SHA-256 over the sources, the flags and the locked packages, in hex.
///
/// # Errors
/// Where a file cannot be read.
pub(super) fn digest() -> Result<String> {
    let lock = std::fs::read_to_string(project::root().join("Cargo.lock")).context("Cargo.lock")?;
    let packages = project::locked_closure(&lock, "twtrace-ebpf", &HELPERS)?;
    digest_of(
        project::root(),
        &packages.into_iter().chain(build::SHAPING_FLAGS.map(str::to_owned)).collect::<Vec<_>>(),
    )
}

fn digest_of(root: &Path, words: &[String]) -> Result<String> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
        part(&mut hasher, name.as_bytes());
        part(&mut hasher, &bytes);
    }
    for word in words {
        part(&mut hasher, word.as_bytes());
    }
    Ok(hex(&hasher.finalize()))
}

/// Adds bytes with their length, so that no two lists of parts give the same stream.
fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            // A build by hand inside the crate leaves its own target folder.
            if !path.ends_with("target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|ext| ext == "rs" || ext == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in FOLDERS {
            std::fs::create_dir_all(dir.path().join(folder).join("src")).unwrap();
            std::fs::write(dir.path().join(folder).join("src/a.rs"), "one").unwrap();
        }
        dir
    }

    #[test]
    fn times_do_not_count_but_contents_names_and_packages_do() {
        let (first, second) = (tree(), tree());
        let words = vec!["aya-ebpf 0.2.1 ff".to_owned()];
        let base = digest_of(first.path(), &words).unwrap();
        assert_eq!(base, digest_of(second.path(), &words).unwrap());
        assert_ne!(base, digest_of(second.path(), &["aya-ebpf 0.2.2 ff".to_owned()]).unwrap());

        let file = second.path().join("twtrace-common/src/a.rs");
        std::fs::write(&file, "two").unwrap();
        assert_ne!(base, digest_of(second.path(), &words).unwrap());
        std::fs::write(&file, "one").unwrap();
        assert_eq!(base, digest_of(second.path(), &words).unwrap());
        std::fs::rename(&file, file.with_file_name("b.rs")).unwrap();
        assert_ne!(base, digest_of(second.path(), &words).unwrap());
    }

    #[test]
    fn what_an_editor_or_a_build_leaves_does_not_count() {
        let dir = tree();
        let base = digest_of(dir.path(), &[]).unwrap();
        std::fs::create_dir(dir.path().join("twtrace-ebpf/target")).unwrap();
        std::fs::write(dir.path().join("twtrace-ebpf/target/x.rs"), "x").unwrap();
        std::fs::write(dir.path().join("twtrace-ebpf/src/.a.rs.swp"), "x").unwrap();
        assert_eq!(base, digest_of(dir.path(), &[]).unwrap());
    }
}
