//! What others wrote and the program is linked with: their licences, and a bill of materials.
//!
//! Owns: which crates are in the program, as `cargo metadata` tells it. Must not know: where the files go from here.

use super::{Job, name};
use crate::{install, sh};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How names of files with licences begin, in upper case.
const LICENCES: [&str; 4] = ["LICEN", "COPYING", "NOTICE", "UNLICENSE"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

/// A crate of the registry, or of ours.
#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// Where it comes from; ours have none.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev` or `build`, or none.
    kind: Option<String>,
}

/// All texts of licences of crates that the program is linked with, each once, with those whose it is.
///
/// # Errors
/// Where cargo or a file cannot be read.
pub(super) fn notices(job: &Job) -> Result<String> {
    let metadata = metadata(job)?;
    let linked = linked(&metadata, "twtrace");
    let theirs =
        metadata.packages.iter().filter(|package| package.source.is_some() && linked.contains(&*package.id));
    let mut by_text: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut list = String::new();
    for package in theirs {
        let called = format!("{} {}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or("see its text");
        let texts = texts(package.manifest_path.parent().unwrap_or(Path::new("/")))?;
        let none = if texts.is_empty() { " (its package has no text of it)" } else { "" };
        list += &format!("  {called}: {licence}{none}\n");
        for text in texts {
            by_text.entry(text).or_default().insert(called.clone());
        }
    }
    let mut whole = format!("What others wrote, and twtrace is linked with:\n\n{list}");
    for (text, whose) in by_text {
        let whose = whose.into_iter().collect::<Vec<_>>().join(", ");
        whole += &format!("\n{}\n{whose}:\n\n{}\n", "=".repeat(72), text.trim_end());
    }
    Ok(whole)
}

/// Writes the bill of materials, as CycloneDX.
///
/// # Errors
/// Where cargo-cyclonedx fails.
pub(super) fn bill(job: &Job) -> Result<()> {
    // It writes one beside each crate's manifest.
    let (name, ours) = ("twtrace-dist.cdx", workspace_folders(job)?);
    let mut command = job.command(install::tool("cargo-cyclonedx"));
    command.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"]);
    command.args(["--target", job.tree.arch.target()]);
    sh::run(command.args(["--override-filename", name, "--no-build-deps"]))?;
    let written: Vec<PathBuf> = ours.iter().map(|folder| folder.join(format!("{name}.json"))).collect();
    let text = std::fs::read_to_string(job.tree.root.join("twtrace").join(format!("{name}.json")));
    for file in written.iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).with_context(|| file.display().to_string())?;
    }
    let mut bill: Value = serde_json::from_str(&text?).context("cargo-cyclonedx")?;
    without_paths(&mut bill, &format!("path+file://{}/", job.tree.root.display()));
    let text = serde_json::to_string_pretty(&bill)? + "\n";
    std::fs::write(job.made.bill(), text).with_context(|| job.made.bill().display().to_string())
}

/// Our own crates are named after the folders where they lie: these go, and the references that begin with `folder` begin with `workspace/`.
fn without_paths(value: &mut Value, folder: &str) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix(folder) {
                *text = format!("workspace/{rest}");
            } else if let Some((address, path)) = text.split_once("?download_url=file://") {
                let part = path.split_once('#').map_or(String::new(), |(_, part)| format!("#{part}"));
                *text = format!("{address}{part}");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| without_paths(value, folder)),
        Value::Object(values) => values.values_mut().for_each(|value| without_paths(value, folder)),
        _ => {}
    }
}

/// The folders of our own crates.
fn workspace_folders(job: &Job) -> Result<Vec<PathBuf>> {
    let own = metadata(job)?.packages.into_iter().filter(|package| package.source.is_none());
    Ok(own.filter_map(|package| package.manifest_path.parent().map(Path::to_owned)).collect())
}

fn metadata(job: &Job) -> Result<Metadata> {
    let mut ask = job.tree.cargo();
    ask.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", job.tree.arch.target()]);
    serde_json::from_str(&sh::read(&mut ask)?).context("cargo metadata")
}

/// The crates that `crate_name` is linked with, itself among them, by their ids.
fn linked<'a>(metadata: &'a Metadata, crate_name: &str) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
    let first = metadata.packages.iter().filter(|package| package.name == crate_name);
    let mut queue: Vec<&str> = first.map(|package| &*package.id).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if !found.insert(id) {
            continue;
        }
        let is_linked =
            |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let deps = nodes.get(id).map_or(&[][..], |node| &node.deps);
        queue.extend(deps.iter().filter(is_linked).map(|dependency| &*dependency.pkg));
    }
    found
}

/// The texts of licences in a folder, in the order of their names.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let upper = name(&path).to_uppercase();
        if path.is_file() && LICENCES.iter().any(|start| upper.starts_with(start)) {
            files.push(path);
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| std::fs::read_to_string(path).with_context(|| path.display().to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_names_no_folder_of_the_machine() {
        let mut bill = serde_json::json!({
            "components": [{ "bom-ref": "path+file:///home/me/t/twtrace#0.1.0 bin-target-1" }],
            "purl": "pkg:cargo/twtrace@0.1.0?download_url=file://.#src/main.rs",
            "other": ["pkg:cargo/twtrace-common@0.1.0?download_url=file://../twtrace-common", "registry+https://x#a@1", 7],
        });
        without_paths(&mut bill, "path+file:///home/me/t/");
        let expected = serde_json::json!({
            "components": [{ "bom-ref": "workspace/twtrace#0.1.0 bin-target-1" }],
            "purl": "pkg:cargo/twtrace@0.1.0#src/main.rs",
            "other": ["pkg:cargo/twtrace-common@0.1.0", "registry+https://x#a@1", 7],
        });
        assert_eq!(bill, expected);
    }

    #[test]
    fn what_only_builds_or_tests_need_is_not_linked() {
        let metadata: Metadata = serde_json::from_value(serde_json::json!({
            "packages": [
                { "id": "t", "name": "twtrace", "version": "1", "license": null, "manifest_path": "/t/Cargo.toml", "source": null },
            ],
            "resolve": { "nodes": [
                { "id": "t", "deps": [
                    { "pkg": "a", "dep_kinds": [{ "kind": null }, { "kind": "dev" }] },
                    { "pkg": "b", "dep_kinds": [{ "kind": "build" }] },
                    { "pkg": "c", "dep_kinds": [{ "kind": "dev" }] },
                ] },
                { "id": "a", "deps": [{ "pkg": "d", "dep_kinds": [{ "kind": null }] }] },
                { "id": "d", "deps": [{ "pkg": "a", "dep_kinds": [{ "kind": null }] }] },
            ] },
        }))
        .unwrap();
        assert_eq!(linked(&metadata, "twtrace").into_iter().collect::<Vec<_>>(), ["a", "d", "t"]);
    }
}
