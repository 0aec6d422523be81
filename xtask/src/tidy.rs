//! `cargo xtask tidy`: habits of this code base that no linter knows.
//!
//! Owns: which files are looked at. Must not know: the rules (`rules`, `layers`, `circles` and `crates` do).

mod circles;
mod crates;
mod layers;
mod names;
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

/// What all files say together; each is read and parsed once.
#[derive(Default)]
struct Whole {
    modules: Modules,
    /// Lines of each source file.
    sizes: BTreeMap<String, usize>,
    complaints: Vec<Complaint>,
}

impl Whole {
    /// Takes in a file, and what it alone gives rise to.
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) if path.ends_with(".rs") => self.add_source(&Source::parse(path, text)?),
            Ok(text) if path.ends_with("/Cargo.toml") => self.complaints.extend(crates::all(path, text)?),
            Ok(_) => {}
            Err(_) => {
                // `git add` takes whatever a tool left lying there.
                let text = "no text: what is no source belongs into `testdata`, or nowhere".to_owned();
                self.complaints.push(Complaint { path: path.to_owned(), line: 1, text });
            }
        }
        Ok(())
    }

    fn add_source(&mut self, source: &Source) {
        let paths = Paths::of(source);
        self.modules.add(source.path, &paths);
        self.sizes.insert(source.path.to_owned(), source.lines.len());
        self.complaints.extend(rules::all(source));
        self.complaints.extend(layers::all(source, &paths));
    }

    /// All complaints, in the order of files and lines.
    fn judge(self) -> Vec<Complaint> {
        let together = [self.modules.complaints(), rules::folders(&self.sizes)].concat();
        let mut complaints = [self.complaints, together].concat();
        complaints.sort();
        complaints
    }
}

/// Runs the command.
pub(crate) fn main(_: &Args) -> Result<()> {
    let mut files = Vec::new();
    for name in CRATES {
        collect(&project::root().join(name), &mut files)?;
    }
    files.sort();
    let mut whole = Whole::default();
    for file in &files {
        let path = file.strip_prefix(project::root())?.to_string_lossy();
        let bytes = std::fs::read(file).with_context(|| path.clone().into_owned())?;
        whole.add(&path, &bytes)?;
    }
    let complaints = whole.judge();
    for Complaint { path, line, text } in &complaints {
        println!("{path}:{line}: {text}");
    }
    if !complaints.is_empty() {
        bail!("{} things to tidy in {} files looked at", complaints.len(), files.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
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
        let mut whole = Whole::default();
        whole.add("a/src/page.css", b"body {}").unwrap();
        whole.add("a/src/some.whl", b"PK\x03\x04\xff").unwrap();
        let complaints = whole.judge();
        assert_eq!((complaints.len(), complaints[0].path.as_str()), (1, "a/src/some.whl"));
    }

    #[test]
    fn a_file_alone_and_files_together_are_judged() {
        let mut whole = Whole::default();
        whole.add("a/src/b.rs", b"//! B.\n\nuse crate::c;\n").unwrap();
        whole.add("a/src/c.rs", b"use crate::b;\n").unwrap();
        whole.add("d/e.rs", &b"//! E.\n".repeat(100)).unwrap();
        whole.add("d/e/f.rs", b"//! F.\n").unwrap();
        let at: Vec<_> = whole.judge().into_iter().map(|one| (one.path, one.line)).collect();
        let want = [("a/src/b.rs", 3), ("a/src/c.rs", 1), ("d/e.rs", 1)];
        assert_eq!(at, want.map(|(path, line)| (path.to_owned(), line)));
    }
}
