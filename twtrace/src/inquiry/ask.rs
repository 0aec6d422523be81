//! Owns: the side that asks: every running trace that may be asked.
//! Must not know: how an answer is made.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::escape::printable;
use crate::recording::Recording;

/// A trace that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the running traces said.
#[derive(Default)]
pub struct Answers {
    /// A recording of the sockets that live, of each.
    pub recordings: Vec<Recording>,
    /// What the user should know: traces that could not be asked.
    pub notes: Vec<String>,
}

/// Asks every trace that listens in `place`.
pub fn ask(place: &Path) -> Answers {
    let mut answers = Answers::default();
    let shown = || printable(&place.to_string_lossy()).into_owned();
    match is_ours(place) {
        Ok(true) => {}
        // Anybody could tell us anything.
        Ok(false) => {
            answers.notes.push(format!("{} is not asked: others than root and you may write there", shown()));
            return answers;
        }
        // There is no trace.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return answers,
        Err(error) => {
            answers.notes.push(format!("running traces cannot be asked: {}: {error}", shown()));
            return answers;
        }
    }
    let entries = match std::fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) => {
            let remedy = "remedy: run as root";
            answers.notes.push(format!("running traces cannot be asked who owns what: {error}; {remedy}"));
            return answers;
        }
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        match hear(&path) {
            Ok(recording) => answers.recordings.push(recording),
            // One that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                let path = printable(&path.to_string_lossy()).into_owned();
                answers.notes.push(format!("the trace at {path} does not say who owns what: {error}"));
            }
        }
    }
    answers
}

fn hear(path: &Path) -> io::Result<Recording> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Recording::read(stream, "its answer").map_err(io::Error::other)
}

/// Whether only root and the caller may make files in a directory.
///
/// # Errors
/// Where it is none, or cannot be looked at.
pub(super) fn is_ours(place: &Path) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(place)?;
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let is_mine = found.uid() == nix::unistd::geteuid().as_raw();
    Ok((found.uid() == 0 || is_mine) && found.mode() & 0o022 == 0)
}
