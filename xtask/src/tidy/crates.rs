//! Which crate of this workspace may be built from which.
//!
//! Owns: what the manifests of the crates beside the program may name, as ARCHITECTURE.md has it: what tests and what measures share the kit
//! with each other, and nothing with what they test and measure; the kit knows none of them. Must not know: what is in a crate.

use super::{CRATES, Complaint};
use anyhow::{Context as _, Result};
use toml::{Table, Value};

/// A crate, and those of this workspace that it may depend on. A test is free: it may compare with what it tests.
const MAY_USE: [(&str, &[&str]); 4] = [
    ("twtrace-bench", &["twtrace-kit"]),
    ("twtrace-kit", &[]),
    ("twtrace-scenarios", &["twtrace-kit"]),
    ("xtask", &["twtrace-kit"]),
];

/// Complaints about a Cargo.toml, whose `path` is relative to the repository's root.
///
/// # Errors
/// Where it is no TOML.
pub(super) fn all(path: &str, text: &str) -> Result<Vec<Complaint>> {
    let manifest: Table = text.parse().with_context(|| format!("{path} cannot be parsed"))?;
    let Some((name, may)) = MAY_USE.iter().find(|(name, _)| path == format!("{name}/Cargo.toml")) else {
        return Ok(Vec::new());
    };
    let named = dependencies(&manifest).filter(|(_, of)| CRATES.contains(of) && !may.contains(of));
    let complaints = named.map(|(key, of)| Complaint {
        path: path.to_owned(),
        line: text
            .lines()
            .position(|line| line.split(['.', ' ', '=']).next() == Some(key))
            .map_or(1, |at| at + 1),
        text: format!("{name} must not depend on {of}; it may use {}", in_words(may)),
    });
    Ok(complaints.collect())
}

/// What the program itself is built from, on any target: each by the key in the manifest and by its own name.
fn dependencies(manifest: &Table) -> impl Iterator<Item = (&str, &str)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let sections =
        tables.flat_map(|table| ["dependencies", "build-dependencies"].map(|kind| table.get(kind)));
    sections.flatten().filter_map(Value::as_table).flatten().map(|(key, value)| {
        let renamed = value.get("package").and_then(Value::as_str);
        (key.as_str(), renamed.unwrap_or(key))
    })
}

fn in_words(may: &[&str]) -> String {
    if may.is_empty() { "nothing of this workspace".to_owned() } else { may.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::all;

    fn lines(path: &str, manifest: &str) -> Vec<usize> {
        let mut lines: Vec<usize> =
            all(path, manifest).unwrap().into_iter().map(|complaint| complaint.line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn harnesses_share_the_kit_and_nothing_with_what_they_test() {
        let both = "[dependencies]\ntwtrace-kit.workspace = true\ntwtrace.workspace = true\n";
        assert_eq!(lines("twtrace-bench/Cargo.toml", both), [3]);
        assert_eq!(lines("twtrace-scenarios/Cargo.toml", both), [3]);
        assert_eq!(lines("twtrace-kit/Cargo.toml", both), [2, 3]);
        assert_eq!(lines("twtrace/Cargo.toml", both), [0; 0]);
        let scenarios = "[dependencies]\ntwtrace-scenarios = { path = \"../twtrace-scenarios\" }\n";
        assert_eq!(lines("twtrace-bench/Cargo.toml", scenarios), [2]);
    }

    #[test]
    fn another_name_or_target_is_no_way_around_and_a_test_is_free() {
        let renamed = "[dependencies]\nmeasured = { package = \"twtrace\", path = \"../twtrace\" }\n";
        assert_eq!(lines("twtrace-bench/Cargo.toml", renamed), [2]);
        let target = "[target.'cfg(unix)'.build-dependencies]\ntwtrace-common.workspace = true\n";
        assert_eq!(lines("twtrace-bench/Cargo.toml", target), [2]);
        let test = "[dev-dependencies]\ntwtrace.workspace = true\n";
        assert_eq!(lines("twtrace-bench/Cargo.toml", test), [0; 0]);
    }
}
