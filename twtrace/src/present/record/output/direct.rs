//! Owns: an output that whoever writes waits for.
//! Must not know: what is written.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use super::files::Files;
use super::{Destination, OutputError};
use crate::model::escape;

/// A file that is made where strangers may have been before, a FIFO or device that was there, or stdout.
#[derive(Debug)]
pub struct Direct {
    /// What it is called, escaped.
    pub(super) name: String,
    pub(super) file: File,
    /// Of it and those that follow it, where it is a file of ours.
    pub(super) files: Option<Files>,
    total: u64,
}

impl Direct {
    /// Opens it: a bad name is found before any work is done.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn open(destination: &Destination) -> Result<Self, OutputError> {
        if destination.path.as_os_str() == "-" {
            let name = "stdout".to_owned();
            return match io::stdout().as_fd().try_clone_to_owned() {
                Ok(fd) => Ok(Self { name, file: File::from(fd), files: None, total: 0 }),
                Err(error) => Err(OutputError::Io(name, error)),
            };
        }
        let (file, files) = Files::open(destination)?;
        let path = files.as_ref().map_or_else(|| destination.path_of(0), Files::path);
        Ok(Self { name: escape::path(&path), file, files, total: 0 })
    }

    /// What is there is whole, or begins to be: what was to be replaced goes.
    ///
    /// # Errors
    /// What the kernel says of renaming the file.
    pub fn begin(&mut self) -> io::Result<()> {
        self.files.as_mut().map_or(Ok(()), Files::begin)
    }

    /// Writes `bytes` in one go.
    ///
    /// # Errors
    /// What the kernel says, with the name of the file.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(files) = &self.files {
            files.check(&self.file)?;
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.name));
        self.file.write_all(bytes).map_err(named)?;
        self.total += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What it is called, escaped.
    pub fn shown(&self) -> &str {
        &self.name
    }
}
