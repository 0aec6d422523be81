//! `cargo xtask tidy`: habits of this code base that no linter knows.
//!
//! Owns: which files are looked at. Must not know: the rules (`rules`, `layers`, `circles` and `crates` do).

mod circles;
mod crates;
mod layers;
mod paths;
mod rules;
mod source;

use crate::project;
use anyhow::{Context, Result, bail};
use circles::Modules;
use paths::Paths;
use source::Source;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates of this workspace.
const CRATES: [&str; 7] = [
    "twtrace",
    "twtrace-bench",
    "twtrace-common",
    "twtrace-ebpf",
    "twtrace-kit",
    "twtrace-scenarios",
    "xtask",
];

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    path: String,
    /// Counted from 1.
    line: usize,
    text: String,
}

/// Runs the command.
pub(crate) fn main(_: &Args) -> Result<()> {
    let mut files = Vec::new();
    for name in CRATES {
        collect(&project::root().join(name), &mut files)?;
    }
    files.sort();
    let mut complaints = Vec::new();
    let (mut modules, mut sizes) = (Modules::default(), BTreeMap::new());
    for file in &files {
        let path = file.strip_prefix(project::root())?.to_string_lossy().into_owned();
        let bytes = std::fs::read(file).with_context(|| path.clone())?;
        complaints.extend(judge(&path, &bytes, &mut modules)?);
        if path.ends_with(".rs") {
            sizes.insert(path, bytes.iter().filter(|byte| **byte == b'\n').count());
        }
    }
    complaints.extend(modules.complaints());
    complaints.extend(rules::folders(&sizes));
    complaints.sort();
    for Complaint { path, line, text } in &complaints {
        println!("{path}:{line}: {text}");
    }
    if !complaints.is_empty() {
        bail!("{} things to tidy in {} files looked at", complaints.len(), files.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
}

fn judge(path: &str, bytes: &[u8], modules: &mut Modules) -> Result<Vec<Complaint>> {
    match std::str::from_utf8(bytes) {
        Ok(text) if Path::new(path).extension().is_some_and(|ext| ext == "rs") => {
            let source = Source::parse(path, text)?;
            let paths = Paths::of(&source);
            modules.add(path, &paths);
            Ok([rules::all(&source), layers::all(&source, &paths)].concat())
        }
        Ok(text) if path.ends_with("/Cargo.toml") => crates::all(path, text),
        Ok(_) => Ok(Vec::new()),
        Err(_) => {
            // `git add` takes whatever a tool left lying there.
            let text = "no text: what is no source belongs into `testdata`, or nowhere".to_owned();
            Ok(vec![Complaint { path: path.to_owned(), line: 1, text }])
        }
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            // Build output, the kernel side as it is built, and data for tests, are not ours to judge.
            if !["target", "testdata", "data", "twtrace/bpf"].iter().any(|name| path.ends_with(name)) {
                collect(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_left_beside_the_sources_is_told() {
        let archive = judge("a/src/some.whl", b"PK\x03\x04\xff", &mut Modules::default()).unwrap();
        assert_eq!((archive.len(), archive[0].path.as_str()), (1, "a/src/some.whl"));
        assert_eq!(judge("a/src/page.css", b"body {}", &mut Modules::default()).unwrap(), []);
    }
}
