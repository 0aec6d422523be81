//! Where things lie in this repository, and what its Cargo.lock says.
//!
//! Owns: paths and the lock file's packages. Must not know: any command.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The repository's root: the parent of this crate's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target` in the root.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Cargo's home: `CARGO_HOME`, else `~/.cargo`.
pub(crate) fn cargo_home() -> PathBuf {
    match std::env::var_os("CARGO_HOME") {
        Some(dir) => dir.into(),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
    }
}

/// The checked-in BPF object that the userspace crate embeds.
pub(crate) fn object() -> PathBuf {
    root().join("twtrace/bpf/twtrace.bpf.o")
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

/// One package of Cargo.lock.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The registry packages that `crate_name` is built from, each as `name version checksum`.
///
/// Packages named in `skip` are left out with whatever only they need.
///
/// # Errors
/// Where `lock` is no Cargo.lock.
pub(crate) fn locked_closure(lock: &str, crate_name: &str, skip: &[&str]) -> Result<BTreeSet<String>> {
    let lock: Lock = toml::from_str(lock).context("Cargo.lock cannot be parsed; restore it from git")?;
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in &lock.package {
        by_name.entry(&package.name).or_default().push(package);
    }
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut queue = vec![crate_name.to_owned()];
    while let Some(wanted) = queue.pop() {
        let mut words = wanted.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        if skip.contains(&name) || !seen.insert(wanted.clone()) {
            continue;
        }
        let versions = by_name.get(name).map_or(&[][..], Vec::as_slice);
        for package in versions.iter().filter(|p| version.is_none_or(|v| v == p.version)) {
            queue.extend(package.dependencies.iter().cloned());
            if let Some(checksum) = &package.checksum {
                found.insert(format!("{} {} {checksum}", package.name, package.version));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "ours"
version = "0.1.0"
dependencies = ["a", "b 2.0.0", "builder"]
[[package]]
name = "a"
version = "1.0.0"
checksum = "aa"
dependencies = ["ours"]
[[package]]
name = "b"
version = "1.0.0"
checksum = "b1"
[[package]]
name = "b"
version = "2.0.0"
checksum = "b2"
[[package]]
name = "builder"
version = "1.0.0"
checksum = "bb"
dependencies = ["c"]
[[package]]
name = "c"
version = "1.0.0"
checksum = "cc"
"#;

    #[test]
    fn closure_takes_the_named_version_and_leaves_out_what_is_skipped() {
        let found: Vec<_> = locked_closure(LOCK, "ours", &["builder"]).unwrap().into_iter().collect();
        assert_eq!(found, ["a 1.0.0 aa", "b 2.0.0 b2"]);
    }

    #[test]
    fn closure_without_skipping_is_transitive() {
        let found = locked_closure(LOCK, "ours", &[]).unwrap();
        assert!(found.contains("c 1.0.0 cc"), "{found:?}");
    }
}
