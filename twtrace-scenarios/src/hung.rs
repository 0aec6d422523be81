//! Owns: a FUSE mount whose server does not answer all that it is asked. Here, everything but reads, the first ones aside: whoever touches a page of its one file waits for ever,
//! and may hold the lock of its memory meanwhile.
//! Must not know: who does.

pub(crate) mod disk;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use tempfile::TempDir;

use crate::around::own_mounts;

/// Opcodes of include/uapi/linux/fuse.h, 6.12.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
/// Bytes of `fuse_in_header`.
const HEADER: usize = 40;
/// Reads that are answered, with an error, before one is not. A page fault reads without the lock of the memory first
/// (filemap_fault(), mm/filemap.c, 5.10 to 7.3, FAULT_FLAG_TRIED); it goes on with it when that came to nothing.
const ANSWERED: u32 = 1;
/// Size of the file, in bytes.
const SIZE: u64 = 4096;

/// Whether there can be one here.
pub(crate) fn can_be() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
}

/// The mount, in a mount namespace of the calling process's own. Its server goes with this, and whoever waits is let go.
#[derive(Debug)]
pub(crate) struct Hung {
    dir: TempDir,
    server: Pid,
    /// What is written to it stops the server.
    order: PipeWriter,
}

impl Hung {
    /// Moves the calling process, which has one thread, into a mount namespace of its own, and mounts there.
    pub(crate) fn mount() -> Result<Self> {
        let mut reads = 0;
        Self::mount_with(move |opcode, request| match opcode {
            LOOKUP => Some(Ok(entry())),
            READ if reads < ANSWERED => {
                reads += 1;
                Some(Err(libc::EIO))
            }
            // That is what this is for.
            READ => None,
            _ => Some(plain(opcode, request)),
        })
    }

    /// As [`Self::mount`]; `answer` says what is answered to an opcode and its request, which begins with [`HEADER`] bytes, if anything is.
    fn mount_with(answer: impl FnMut(u32, &[u8]) -> Option<Answer>) -> Result<Self> {
        let mut fuse = OpenOptions::new();
        // What poll() has told of may be taken back before it is read.
        fuse.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let fuse = fuse.open("/dev/fuse").context("/dev/fuse")?;
        own_mounts()?;
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("hung"), dir.path(), Some("fuse"), flags, Some(options.as_str())).context("mounting")?;
        let (ordered, order) = std::io::pipe()?;
        // SAFETY: scenario processes have one thread.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let _ = prctl::set_pdeathsig(Signal::SIGKILL);
                let _ = serve(fuse, &ordered, answer);
                std::process::exit(0);
            }
            ForkResult::Parent { child } => Ok(Self { dir, server: child, order }),
        }
    }

    /// Stops the server, between two requests: who waits for an answer to one that was read already cannot be killed
    /// (`request_wait_answer`, fs/fuse/dev.c, 5.10 to 7.3).
    fn stop(&self) -> Result<()> {
        (&self.order).write_all(b"!")?;
        let state = waitpid(self.server, Some(WaitPidFlag::WUNTRACED))?;
        ensure!(matches!(state, WaitStatus::Stopped(..)), "{state:?}");
        Ok(())
    }

    /// The file whose pages never come.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("hung")
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = kill(self.server, Signal::SIGKILL);
        let _ = waitpid(self.server, None);
        let _ = nix::mount::umount2(self.dir.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// What is answered: bytes after the header, or an error of errno(3).
type Answer = Result<Vec<u8>, i32>;

/// What every one answers.
fn plain(opcode: u32, request: &[u8]) -> Answer {
    match opcode {
        INIT => Ok(init()),
        GETATTR => Ok(attributes(number(request, 16) == 1)),
        OPEN | OPENDIR => Ok(vec![0; 16]),
        _ => Err(libc::ENOSYS),
    }
}

fn number(request: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]])
}

/// Answers until the mount is gone, or it is told to stop.
fn serve(
    mut fuse: File,
    ordered: &PipeReader,
    mut answer: impl FnMut(u32, &[u8]) -> Option<Answer>,
) -> Result<()> {
    let mut request = vec![0; 1 << 17];
    loop {
        let mut ends =
            [PollFd::new(ordered.as_fd(), PollFlags::POLLIN), PollFd::new(fuse.as_fd(), PollFlags::POLLIN)];
        poll(&mut ends, PollTimeout::NONE)?;
        if ends[0].any() == Some(true) {
            raise(Signal::SIGSTOP)?;
        }
        let length = match fuse.read(&mut request) {
            // Whoever asked has given up meanwhile.
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            length => length?,
        };
        ensure!(length >= HEADER, "half a request");
        let request = &request[..length];
        let opcode = number(request, 4);
        // Nobody waits for an answer to that.
        let Some(answer) = (if opcode == FORGET { None } else { answer(opcode, request) }) else { continue };
        let body = answer.as_deref().unwrap_or_default();
        let error = answer.as_ref().err().map_or(0, |errno| -errno);
        let mut reply = Vec::new();
        reply.extend((16 + body.len() as u32).to_ne_bytes());
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        fuse.write_all(&reply)?;
    }
}

/// `fuse_init_out`.
fn init() -> Vec<u8> {
    let mut out = Vec::new();
    for number in [7_u32, 31, 0, 0] {
        out.extend(number.to_ne_bytes());
    }
    out.extend([0; 4]);
    out.extend(4096_u32.to_ne_bytes());
    out.resize(64, 0);
    out
}

/// `fuse_attr`: the root directory, or the file.
fn attr(is_root: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [if is_root { 1 } else { 2 }, SIZE, 8, 0, 0, 0] {
        out.extend(number.to_ne_bytes());
    }
    let mode = if is_root { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o644 };
    for number in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        out.extend(number.to_ne_bytes());
    }
    out
}

/// `fuse_entry_out` of the file.
fn entry() -> Vec<u8> {
    let mut out = Vec::new();
    for number in [2_u64, 0, 1000, 1000] {
        out.extend(number.to_ne_bytes());
    }
    out.extend([0; 8]);
    out.extend(attr(false));
    out
}

/// `fuse_attr_out`.
fn attributes(is_root: bool) -> Vec<u8> {
    let mut out = 1000_u64.to_ne_bytes().to_vec();
    out.extend([0; 8]);
    out.extend(attr(is_root));
    out
}

/// Text of a path for an actor.
pub(crate) fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("an odd path")?;
    CString::new(text)?;
    Ok(text.to_owned())
}
