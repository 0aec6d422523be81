//! Owns: which recordings are meant by the files and folders that were named, none of them twice.
//! Must not know: what is made of them.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::filters::FilterArgs;
use super::values::{STREAM, Usage};
use crate::model::escape;
use crate::model::filter::Filter;
use crate::model::ordering::Ordered as _;
use crate::present::report::{Group, Part, by_host};
use crate::recording::{Head, Recording};

/// The files that were named, and those in folders that were.
pub(super) fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    refuse_stdin_twice(named)?;
    let mut all = Vec::new();
    for path in named {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path)
            .with_context(|| format!("cannot read the folder {}", escape::path(path)))?;
        let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        found.retain(|file| file.extension().is_some_and(|extension| extension == "twt"));
        found.order_by(Ord::cmp);
        if found.is_empty() {
            return Err(
                Usage(format!("there is no recording (*.twt) in the folder {}", escape::path(path))).into()
            );
        }
        all.extend(found);
    }
    Ok(all)
}

/// A stream is read once.
pub(super) fn refuse_stdin_twice(named: &[PathBuf]) -> Result<(), Usage> {
    match named.iter().filter(|path| path.as_os_str() == STREAM).count() {
        0 | 1 => Ok(()),
        _ => Err(Usage("stdin (-) is named twice and can be read once: name a file".to_owned())),
    }
}

/// What is read must not be written over, under whichever name: it would be gone before, or once, it has been read.
pub(super) fn refuse_what_is_read(named: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let Some(written) = file_of(output, &io::stdout()) else { return Ok(()) };
    if files(named)?.iter().any(|read| file_of(read, &io::stdin()) == Some(written)) {
        let shown = escape::path(output);
        let why = "it is the recording that is read; remedy: another name";
        return Err(Usage(format!("cannot write to {shown}: {why}")).into());
    }
    Ok(())
}

/// The device and the inode of a file, links followed; of what a stream leads to, where it is named. `None` of anything else than a file.
fn file_of(path: &Path, stream: &impl AsFd) -> Option<(u64, u64)> {
    let about = match path.as_os_str() == STREAM {
        true => File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata(),
        false => path.metadata(),
    };
    about.ok().filter(Metadata::is_file).map(|about| (about.dev(), about.ino()))
}

/// The recordings that were named, by the machines that made them.
pub(super) fn hosts(named: &[PathBuf], filters: &FilterArgs) -> anyhow::Result<Vec<Group>> {
    let mut parts = Vec::new();
    for path in files(named)? {
        match part(&path) {
            Ok(part) => parts.push(part),
            // One that was found in a folder may just have been begun, or never came to anything.
            Err(error) if !named.contains(&path) => crate::note!("twtrace: passed over: {error:#}"),
            Err(error) => return Err(error),
        }
    }
    if parts.is_empty() {
        return Err(Usage("there is no recording in what was named".to_owned()).into());
    }
    refuse_twice(&parts)?;
    groups(parts, filters)
}

/// Recordings by the machines that made them, and what the filter means on each.
pub(super) fn groups(parts: Vec<Part>, filters: &FilterArgs) -> anyhow::Result<Vec<Group>> {
    let group = |parts: Vec<Part>| Ok(Group { filter: filter(&parts, filters)?, parts });
    by_host(parts).into_iter().map(group).collect()
}

/// A recording of which the head has been read.
pub(super) fn part(path: &Path) -> anyhow::Result<Part> {
    let recording = Recording::open(path)?;
    // A pipe can be read once only. Of files, too many would be open.
    if !path.is_file() {
        return Ok(Part::opened(path.to_owned(), recording));
    }
    let (head, path) = (recording.head().clone(), path.to_owned());
    Ok(Part::new(path.clone(), head, move || Recording::open(&path)))
}

/// A recording is known by the run of the kernel, the moment at which it began, and which part it is.
fn refuse_twice(parts: &[Part]) -> anyhow::Result<()> {
    let mut known = HashMap::new();
    for Part { name, head, .. } in parts {
        let Head { machine_id, boot_id, host, mono_ns, wall_ns, part, .. } = head;
        if let Some(other) = known.insert((machine_id, boot_id, host, mono_ns, wall_ns, part), name) {
            let (one, other) = (escape::path(other), escape::path(name));
            return Err(Usage(format!("{one} and {other} are the same recording: give it once")).into());
        }
    }
    Ok(())
}

/// What the filter means on one machine: a namespace must be known to one of its recordings.
fn filter(parts: &[Part], filters: &FilterArgs) -> anyhow::Result<Filter> {
    let mut found: Option<Filter> = None;
    let mut unknown = None;
    for Part { name, head, .. } in parts {
        match (filters.recorded(name, head), &mut found) {
            (Ok(filter), None) => found = Some(filter),
            (Ok(filter), Some(found)) => {
                found.netns.extend(filter.netns);
                found.netns.sort_unstable();
                found.netns.dedup();
            }
            (Err(error), _) => {
                let of_one = error.context(format!("in {}", escape::path(name)));
                unknown = unknown.or(Some(of_one));
            }
        }
    }
    match (found, unknown) {
        (Some(filter), _) => Ok(filter),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Usage("no recording".to_owned()).into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::recording::{Encoder, Tail};

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        filters: FilterArgs,
    }

    fn recording(path: &Path, mono_ns: u64) {
        let head = Head { boot_id: "one".to_owned(), mono_ns, ..Head::default() };
        let mut encoder = Encoder::new(&head).unwrap();
        encoder.finish(&Tail { mono_ns: mono_ns + 7, ..Tail::default() }).unwrap();
        std::fs::write(path, encoder.bytes()).unwrap();
    }

    fn refused(named: &[PathBuf]) -> String {
        let filters = Only::parse_from(["twtrace"]).filters;
        hosts(named, &filters).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_recording_counts_once_and_what_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, other] = ["a.twt", "b.twt", "c.twt"].map(|name| dir.path().join(name));
        recording(&one, 100);
        recording(&two, 200);
        let folder = dir.path().to_owned();
        assert_eq!(refused(std::slice::from_ref(&folder)), "");
        let error = refused(&[folder.clone(), one]);
        assert!(error.contains("a.twt and ") && error.contains("are the same recording"), "{error}");
        std::fs::copy(&two, &other).unwrap();
        let error = refused(std::slice::from_ref(&folder));
        assert!(error.contains("b.twt and ") && error.contains("c.twt are the same recording"), "{error}");
        std::fs::write(&other, "no recording").unwrap();
        assert_eq!(
            refused(std::slice::from_ref(&folder)),
            "",
            "one that was just begun says nothing of the others"
        );
        let error = refused(&[folder, other.clone()]);
        assert!(error.contains("c.twt is no recording of twtrace"), "{error}");
        let alone = tempfile::tempdir().unwrap();
        std::fs::copy(&other, alone.path().join("d.twt")).unwrap();
        assert_eq!(refused(&[alone.path().to_owned()]), "there is no recording in what was named");
        let empty = tempfile::tempdir().unwrap();
        let error = refused(&[empty.path().to_owned()]);
        assert!(error.starts_with("there is no recording (*.twt) in the folder "), "{error}");
    }
}
