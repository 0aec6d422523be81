//! Owns: making files where strangers may have been before us. A program that runs as root writes into shared folders such as
//! /tmp; whatever has the name already (a link, a FIFO, somebody's file) is neither written to nor followed nor emptied.
//! Must not know: what is written, and why.
//!
//! The folder is opened once, and every name is looked up in it: one that is exchanged for another meanwhile changes nothing.

mod aside;
mod ready;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, unlinkat};

pub use aside::Aside;
pub use ready::ReadyFile;

/// How often another name is tried when somebody has taken the one that was free a moment before.
const TRIES: usize = 16;

/// What a folder of ours may be done with, as mkdir(1) has it; the files in it are for their owner only.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o755);
/// The same of one that is for its owner only.
const PRIVATE_MODE: Mode = Mode::from_bits_truncate(0o700);

/// A folder that files are made in.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    /// Whose links and FIFOs are used as they are asked for: ours, root's, and the caller's.
    trusted: Vec<Uid>,
}

/// A file that we made, by what it is and not by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    device: u64,
    inode: u64,
}

/// What has a name already.
#[derive(Debug)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// A FIFO or a device that one may write to, such as /dev/null, opened.
    Stream(File),
    /// Something that is not written to; a file with this name can only take its place.
    Taken(Taken),
    /// A folder, a socket or a disk, whose place no file is to take.
    NoFile,
}

/// What is there, as far as a user needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A file.
    File,
    /// A link to a file, or to nothing.
    Link,
    /// A link that somebody else made.
    LinkOf(Uid),
    /// A FIFO or a device that somebody else made.
    StreamOf(Uid),
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("it exists"),
            Self::Link => f.write_str("it exists and is a link, which is not followed"),
            Self::LinkOf(uid) => write!(f, "it exists and is a link of user {uid}'s, which is not followed"),
            Self::StreamOf(uid) => {
                write!(f, "it exists and is a FIFO or device of user {uid}'s, which is not written to")
            }
        }
    }
}

/// A file without a name takes bytes that nobody can ever read. No server is asked for that: on NFS a plain fstat(2)
/// first waits until all that was written is there (nfs_getattr(), fs/nfs/inode.c, 5.10 to 7.3).
///
/// # Errors
/// Where it has none; what the kernel says.
pub fn named(file: impl AsFd) -> io::Result<()> {
    // SAFETY: integers only.
    let mut about = unsafe { std::mem::zeroed::<libc::statx>() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let (fd, what) = (file.as_fd().as_raw_fd(), libc::STATX_NLINK);
    // Not the C library's function: see clippy.toml.
    // SAFETY: an open descriptor, an empty path that ends with NUL, and a place for the answer.
    let done = unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, what, &raw mut about) };
    match done {
        0 if about.stx_nlink == 0 => {
            Err(io::Error::new(io::ErrorKind::NotFound, "somebody removed it while it was written to"))
        }
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Folder {
    /// The folder that `path` lies in, and its name there. `owner` is trusted as we are.
    ///
    /// # Errors
    /// If there is no such folder, or the path ends in no name of a file.
    pub fn of(path: &Path, owner: Option<Uid>) -> io::Result<(Self, OsString)> {
        let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
        let Some(name) = path.file_name().filter(|_| !ends_in_slash) else {
            return Err(io::Error::other("it is no file"));
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::opened(folder, owner)?, name.to_owned()))
    }

    fn opened(path: &Path, owner: Option<Uid>) -> io::Result<Self> {
        let fd = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut trusted = vec![Uid::effective(), Uid::from_raw(0)];
        trusted.extend(owner);
        Ok(Self { fd, trusted })
    }

    /// The folder at `path`, made where there is none, with those above it. Links above it are the user's words, and followed.
    ///
    /// # Errors
    /// What the kernel says; if it is a link of somebody else's in a shared folder.
    pub fn at(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        above.map_or(Ok(()), std::fs::create_dir_all)?;
        let trusted = owner.map(|(uid, _)| uid);
        match path.file_name() {
            Some(name) => Self::opened(above.unwrap_or(Path::new(".")), trusted)?.enter(name, owner),
            None => Self::opened(path, trusted),
        }
    }

    /// As [`Folder::at`], but made for `owner` only, and not with those above it.
    ///
    /// # Errors
    /// As [`Folder::at`].
    pub fn private(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        let trusted = owner.map(|(uid, _)| uid);
        match path.file_name() {
            Some(name) => {
                let above = Self::opened(above.unwrap_or(Path::new(".")), trusted)?;
                above.enter_or_make(name, PRIVATE_MODE, owner)
            }
            None => Self::opened(path, trusted),
        }
    }

    /// The folder that has this name, made where there is none, for `owner`.
    ///
    /// # Errors
    /// What the kernel says; if it is a link of somebody else's in a shared folder.
    pub fn enter(&self, name: &OsStr, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        self.enter_or_make(name, FOLDER_MODE, owner)
    }

    fn enter_or_make(&self, name: &OsStr, mode: Mode, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let is_new = match mkdirat(&self.fd, name, mode) {
            Err(Errno::EEXIST) => false,
            made => made.map(|()| true)?,
        };
        let mut fd = openat(&self.fd, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        let stat = fstat(&fd)?;
        if kind(&stat) == SFlag::S_IFLNK {
            if !self.trusts(&stat) && self.is_shared()? {
                let taken = Taken::LinkOf(Uid::from_raw(stat.st_uid));
                return Err(io::Error::other(format!("{taken}; remedy: remove it, or name another folder")));
            }
            // Of the link that was looked at, whatever has its name by now.
            let target = readlinkat(&fd, "")?;
            fd = openat(&self.fd, &*target, flags | OFlag::O_DIRECTORY, Mode::empty())?;
        } else if kind(&stat) != SFlag::S_IFDIR {
            return Err(Errno::ENOTDIR.into());
        }
        if let Some((uid, gid)) = owner.filter(|_| is_new) {
            fchownat(&fd, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        }
        Ok(Self { fd, trusted: self.trusted.clone() })
    }

    /// What has this name.
    ///
    /// # Errors
    /// What the kernel says, of a FIFO or device that cannot be opened as well.
    pub fn find(&self, name: &OsStr) -> io::Result<Existing> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let at = match openat(&self.fd, name, flags | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(Existing::Nothing),
            at => at?,
        };
        let stat = fstat(&at)?;
        if kind(&stat) != SFlag::S_IFLNK {
            return self.judged(&stat, &at, self.trusts(&stat) || !self.is_shared()?, Taken::File);
        }
        if !self.trusts(&stat) && self.is_shared()? {
            return Ok(Existing::Taken(Taken::LinkOf(Uid::from_raw(stat.st_uid))));
        }
        match openat(&self.fd, name, flags, Mode::empty()) {
            Err(_) => Ok(Existing::Taken(Taken::Link)),
            Ok(target) => {
                let stat = fstat(&target)?;
                self.judged(&stat, &target, self.trusts(&stat) || is_ours_already(&stat), Taken::Link)
            }
        }
    }

    fn judged(&self, stat: &FileStat, at: &OwnedFd, may: bool, plain: Taken) -> io::Result<Existing> {
        match kind(stat) {
            SFlag::S_IFREG => Ok(Existing::Taken(plain)),
            // A link that leads to nothing we know is a name all the same.
            SFlag::S_IFLNK => Ok(Existing::Taken(Taken::Link)),
            SFlag::S_IFIFO | SFlag::S_IFCHR if may => {
                // By what was looked at, whatever has its name by now.
                let path = format!("/proc/self/fd/{}", at.as_raw_fd());
                let file = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path)?;
                Ok(Existing::Stream(file))
            }
            SFlag::S_IFIFO | SFlag::S_IFCHR => {
                Ok(Existing::Taken(Taken::StreamOf(Uid::from_raw(stat.st_uid))))
            }
            _ => Ok(Existing::NoFile),
        }
    }

    /// Whether its names are ours to make and remove without any privilege.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_ours(&self) -> io::Result<bool> {
        let stat = fstat(&self.fd)?;
        Ok(stat.st_uid == Uid::effective().as_raw() && stat.st_mode & Mode::S_IWUSR.bits() != 0)
    }

    fn trusts(&self, stat: &FileStat) -> bool {
        self.trusted.iter().any(|uid| uid.as_raw() == stat.st_uid)
    }

    /// Whether others can put names into it.
    fn is_shared(&self) -> io::Result<bool> {
        let stat = fstat(&self.fd)?;
        let of_others = (Mode::S_IWGRP | Mode::S_IWOTH).bits();
        Ok(stat.st_mode & of_others != 0 || !self.trusts(&stat))
    }

    /// Makes a file that was not there: whatever has the name is an error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make(&self, name: &OsStr, mode: u32, owner: Option<(Uid, Gid)>) -> io::Result<(File, Id)> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::from_bits_truncate(mode))?);
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        let id = Id::of(&fstat(&file)?);
        Ok((file, id))
    }

    /// As [`Folder::make`], under a name beside `name` that nobody can take before.
    ///
    /// # Errors
    /// As [`Folder::make`].
    pub fn make_beside(
        &self,
        name: &OsStr,
        mode: u32,
        owner: Option<(Uid, Gid)>,
    ) -> io::Result<(File, Id, OsString)> {
        let mut tries = 0;
        loop {
            let mut beside = OsString::from(".");
            // Names have an end: 255 bytes.
            beside.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
            beside.push(format!(".{:016x}", RandomState::new().hash_one(tries)));
            match self.make(&beside, mode, owner) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
                made => return made.map(|(file, id)| (file, id, beside)),
            }
        }
    }

    /// Gives `from` the name `to`; what had it is gone. A link is replaced and not followed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes what has this name, if it is no folder.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// What has this name, if it is a file of ours.
    pub fn own(&self, name: &OsStr) -> Option<Id> {
        let stat = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        (kind(&stat) == SFlag::S_IFREG && self.trusts(&stat)).then(|| Id::of(&stat))
    }

    /// Removes a file of ours, unless the name is somebody else's by now.
    pub fn remove_own(&self, name: &OsStr, id: Id) {
        let found = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if found.is_ok_and(|stat| Id::of(&stat) == id) {
            // It may be gone as well.
            let _ = self.remove(name);
        }
    }

    /// All names in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn names(&self) -> io::Result<BTreeSet<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.fd, ".", flags, Mode::empty())?;
        let names = dir.iter().map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
        names.collect()
    }

    /// Whether this name is an empty file of ours, as a run that has ended leaves one.
    fn is_left_over(&self, name: &OsStr) -> bool {
        let found = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| kind(&stat) == SFlag::S_IFREG && stat.st_size == 0 && self.trusts(&stat))
    }
}

impl Id {
    fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Whether it is what one of our standard streams leads to: /dev/stdout is asked for by whoever gave us that stream.
fn is_ours_already(stat: &FileStat) -> bool {
    let same = |ours: FileStat| Id::of(&ours) == Id::of(stat);
    fstat(io::stdin()).is_ok_and(same)
        || fstat(io::stdout()).is_ok_and(same)
        || fstat(io::stderr()).is_ok_and(same)
}

#[cfg(test)]
mod tests;
