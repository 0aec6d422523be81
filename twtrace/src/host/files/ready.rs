//! Owns: the ready file: it is there once tracing has begun, and not before.
//! Must not know: who waits for it.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::{Existing, Folder};

/// A ready file that is not there yet.
#[derive(Debug)]
pub struct ReadyFile {
    folder: Folder,
    name: OsString,
}

impl ReadyFile {
    /// Takes the name before anything is attached. An empty file that an earlier run left goes, or whoever waits would be told too early.
    ///
    /// # Errors
    /// If there is anything else, or no such folder.
    pub fn claim(path: &Path) -> io::Result<Self> {
        let (folder, name) = Folder::of(path, None)?;
        if folder.is_left_over(&name) {
            folder.remove(&name)?;
        }
        match folder.find(&name)? {
            Existing::Nothing => Ok(Self { folder, name }),
            Existing::Taken(taken) => Err(remedy(&taken.to_string())),
            Existing::Stream(_) | Existing::NoFile => Err(remedy("it exists and is no file")),
        }
    }

    /// Tracing has begun.
    ///
    /// # Errors
    /// If the name was taken meanwhile.
    pub fn make(self) -> io::Result<()> {
        self.folder.make(&self.name, 0o644, None).map(drop)
    }
}

fn remedy(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{what}; remedy: a name that is free"))
}
