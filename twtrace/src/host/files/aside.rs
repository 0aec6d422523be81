//! Owns: a file that is written beside its name and put in its place when it is whole: nobody ever sees a part of it.
//! Must not know: what is in it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use nix::unistd::{Gid, Uid};

use super::{Folder, Id};

/// What a file of ours may be done with: read and written, by its owner.
const MODE: u32 = 0o600;
const BUFFER_BYTES: usize = 256 << 10;

/// See the head of the file. One that is never put in its place goes.
#[derive(Debug)]
pub struct Aside {
    folder: Folder,
    name: OsString,
    beside: Option<(OsString, Id)>,
    file: BufWriter<File>,
    written: u64,
}

impl Aside {
    /// Begins a file that will have the name `name` in `folder`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn within(folder: Folder, name: OsString, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let (file, id, beside) = folder.make_beside(&name, MODE, owner)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { folder, name, beside: Some((beside, id)), file, written: 0 })
    }

    /// Puts it in its place, whatever was there, and says how many bytes it has.
    ///
    /// # Errors
    /// What the kernel says; then what was there stays.
    pub fn persist(mut self) -> io::Result<u64> {
        self.file.flush()?;
        // What has its name is whole, whatever happens to the machine.
        self.file.get_ref().sync_data()?;
        if let Some((beside, _)) = &self.beside {
            self.folder.rename(beside, &self.name)?;
        }
        self.beside = None;
        Ok(self.written)
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some((beside, id)) = self.beside.take() {
            self.folder.remove_own(&beside, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_a_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whole");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let aside = || {
            let (folder, name) = Folder::of(&path, None).unwrap();
            Aside::within(folder, name, None).unwrap()
        };
        std::fs::write(&path, "old").unwrap();
        let mut given_up = aside();
        given_up.write_all(b"new").unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names()), (&b"old"[..], 2));
        drop(given_up);
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names()), (&b"old"[..], 1));
        let mut placed = aside();
        placed.write_all(b"newer").unwrap();
        assert_eq!(placed.persist().unwrap(), 5);
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names()), (&b"newer"[..], 1));
    }
}
