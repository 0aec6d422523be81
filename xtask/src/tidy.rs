//! `cargo xtask tidy`: habits of this code base that no linter knows.
//!
//! Owns: which files are looked at. Must not know: the rules (`rules` and `layers` do).

mod layers;
mod rules;
mod source;

use crate::project;
use anyhow::{Context, Result, bail};
use source::Source;
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
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    for file in &files {
        let path = file.strip_prefix(project::root())?.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).with_context(|| path.clone())?;
        complaints.extend(look_at(&path, &text)?);
    }
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

fn look_at(path: &str, text: &str) -> Result<Vec<Complaint>> {
    let source = Source::parse(path, text)?;
    let mut complaints = rules::all(&source);
    complaints.extend(layers::all(&source));
    Ok(complaints)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            // Build output, and data for tests, are not ours to judge.
            if !["target", "testdata", "data"].iter().any(|name| path.ends_with(name)) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
