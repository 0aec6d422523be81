//! Owns: a disk that takes what is written to its one file until it is told to hang, and answers nothing from then on: write(2) does not come back.
//! Must not know: who writes.
//!
//! It hangs as a file server that cannot be reached does: whoever waits can be killed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::NamedTempFile;

use super::{Answer, HEADER, Hung, LOOKUP, entry, number, plain};

const WRITE: u32 = 16;
const CREATE: u32 = 35;
/// Bytes of `fuse_write_in`.
const WRITE_IN: usize = 40;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Disk {
    hung: Hung,
    written: NamedTempFile,
}

impl Disk {
    /// Mounts it; see [`Hung::mount`].
    pub(crate) fn mount() -> Result<Self> {
        let written = NamedTempFile::with_prefix("twtrace-scenarios-")?;
        let file = written.reopen()?;
        let hung = Hung::mount_with(move |opcode, request| {
            Some(match opcode {
                LOOKUP => Err(libc::ENOENT),
                CREATE => Ok([entry(), vec![0; 16]].concat()),
                WRITE => write(&file, request),
                _ => plain(opcode, request),
            })
        })?;
        // From the first close(2) on the kernel knows that this server is not to be told of it: who waits for that cannot be killed either.
        drop(File::create(hung.file().with_extension("first"))?);
        Ok(Self { hung, written })
    }

    /// The file, which is to be made.
    pub(crate) fn file(&self) -> PathBuf {
        self.hung.file()
    }

    /// From now on nothing that is written comes back.
    pub(crate) fn hang(&self) -> Result<()> {
        self.hung.stop()
    }

    /// What was written before, for those who do not want to wait.
    pub(crate) fn written(&self) -> PathBuf {
        self.written.path().to_owned()
    }
}

/// Takes the bytes of a request, and answers `fuse_write_out`.
fn write(file: &File, request: &[u8]) -> Answer {
    let (low, high) = (number(request, HEADER + 8), number(request, HEADER + 12));
    let offset = u64::from(low) | u64::from(high) << 32;
    let bytes = &request[HEADER + WRITE_IN..];
    file.write_all_at(bytes, offset).map_err(|_| libc::EIO)?;
    Ok([(bytes.len() as u32).to_ne_bytes(), [0; 4]].concat())
}
