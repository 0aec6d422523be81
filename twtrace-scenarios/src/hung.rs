//! Owns: a FUSE mount whose server answers everything but reads, the first ones aside: whoever touches a page of its one file waits for ever,
//! and may hold the lock of its memory meanwhile.
//! Must not know: who does.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use tempfile::TempDir;
use twtrace_kit::wait::{PATIENCE, until_true};

/// Opcodes of include/uapi/linux/fuse.h.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
/// Bytes of `fuse_in_header`.
const HEADER: usize = 40;
/// Reads that are answered, with an error, before one is not. A page fault reads without the lock of the memory first (`filemap_fault`,
/// mm/filemap.c, FAULT_FLAG_TRIED); it goes on with it when that came to nothing.
const ANSWERED: u32 = 1;
/// Size of the file, in bytes.
const SIZE: u64 = 4096;

/// Whether there can be one here.
pub fn can_be() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
}

/// The mount, in a mount namespace of the calling process's own. Its server goes with this, and whoever waits is let go.
#[derive(Debug)]
pub struct Hung {
    dir: TempDir,
    server: Pid,
}

impl Hung {
    /// Moves the calling process, which has one thread, into a mount namespace of its own, and mounts there.
    pub fn mount() -> Result<Self> {
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse").context("/dev/fuse")?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("hung"), dir.path(), Some("fuse"), flags, Some(options.as_str())).context("mounting")?;
        // SAFETY: scenario processes have one thread.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let _ = prctl::set_pdeathsig(Signal::SIGKILL);
                let _ = serve(fuse);
                std::process::exit(0);
            }
            ForkResult::Parent { child } => Ok(Self { dir, server: child }),
        }
    }

    /// The file whose pages never come.
    pub fn file(&self) -> PathBuf {
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

/// Answers until the mount is gone.
fn serve(mut fuse: File) -> Result<()> {
    let mut request = vec![0; 1 << 17];
    let mut reads = 0;
    loop {
        let length = fuse.read(&mut request)?;
        ensure!(length >= HEADER, "half a request");
        let number =
            |at: usize| u32::from_ne_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let (opcode, unique) = (number(4), [number(8), number(12)]);
        let answer = match opcode {
            INIT => Ok(init()),
            LOOKUP => Ok(entry()),
            GETATTR => Ok(attributes(number(16) == 1)),
            OPEN | OPENDIR => Ok(vec![0; 16]),
            READ if reads < ANSWERED => {
                reads += 1;
                Err(libc::EIO)
            }
            // That is what this is for.
            READ | FORGET => continue,
            _ => Err(libc::ENOSYS),
        };
        let body = answer.as_deref().unwrap_or_default();
        let error = answer.as_ref().err().map_or(0, |errno| -errno);
        let mut reply = Vec::new();
        reply.extend((16 + body.len() as u32).to_ne_bytes());
        reply.extend(error.to_ne_bytes());
        unique.iter().for_each(|half| reply.extend(half.to_ne_bytes()));
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

/// Puts a page of the file `path` in the place of the page in which the calling process's arguments begin, as any process can. What else is
/// there, of the environment and of the first functions that ran, must not be needed any more.
fn hang_arguments(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    // Field 48 (proc_pid_stat(5)); field 3 is the first after the name.
    let start: u64 = rest.split_ascii_whitespace().nth(48 - 3).context("no arguments in stat")?.parse()?;
    let page = start / SIZE * SIZE;
    let here = (&raw const page).addr() as u64;
    ensure!(here + 4 * SIZE < page, "the stack at {here:#x} is too close to the arguments at {page:#x}");
    let at = std::ptr::without_provenance_mut(usize::try_from(page)?);
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    // SAFETY: the page is of our own stack, above all that is still to run in this process, which never returns there.
    let mapped = unsafe { libc::mmap(at, SIZE as usize, libc::PROT_READ, flags, file.as_raw_fd(), 0) };
    ensure!(mapped != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    Ok(())
}

/// As [`hang_arguments`]; besides, one thread of the calling process waits for another page of `path` with the lock of the process's memory
/// held, and a second one for that lock: from then on, whoever wants to look at this memory waits as well. The process itself can go on as
/// long as it needs no new memory.
pub fn hold_memory(path: &Path) -> Result<()> {
    keep_memory();
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    // SAFETY: a new mapping.
    let page = unsafe {
        let (length, fd) = (SIZE as usize, file.as_raw_fd());
        libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0)
    };
    ensure!(page != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    let at = page.expose_provenance();
    // A thread that begins looks at what lies beside the arguments: both begin before that is gone.
    std::thread::Builder::new().name("faults".into()).spawn(move || {
        wait_for(&BEGUN);
        // SAFETY: a byte of the page above, if that ever comes.
        unsafe { std::ptr::with_exposed_provenance::<u8>(at).read_volatile() };
        FAULTED.store(true, Ordering::Release);
    })?;
    let (send, tid) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("changes".into()).spawn(move || {
        let _ = send.send(nix::unistd::gettid());
        wait_for(&BEGUN);
        change(at);
    })?;
    let stat = format!("/proc/self/task/{}/stat", tid.recv()?);
    hang_arguments(path)?;
    BEGUN.store(true, Ordering::Release);
    // Uninterruptible, and no turn further, for so many looks.
    let (mut still, mut last) = (0, 0);
    until_true("the lock of the memory to be held", PATIENCE, || {
        let (text, now) = (std::fs::read_to_string(&stat)?, TURNS.load(Ordering::Acquire));
        ensure!(!FAULTED.load(Ordering::Acquire), "the page came");
        still = if text.contains(") D ") && now == last { still + 1 } else { 0 };
        last = now;
        Ok(still > 20)
    })
}

/// Without a lock, which whoever faults could have in hand.
fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// What is freed is kept from now on, so that there is memory without asking the kernel; and a fault that fails, which it does once the server
/// is gone, ends the process as if it had been told to end.
fn keep_memory() {
    // SAFETY: numbers only; and a handler that never returns, and makes no other call than an async-signal-safe one.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 25);
        libc::signal(libc::SIGBUS, end as *const () as libc::sighandler_t);
    }
    drop(std::hint::black_box(vec![1_u8; 1 << 23]));
}

/// Changes a mapping of a page to and fro, without end. Where a fault in it holds but the lock of this mapping, whoever changes that waits for
/// it with the lock of all of the memory held.
fn change(at: usize) {
    loop {
        for advice in [libc::MADV_RANDOM, libc::MADV_NORMAL] {
            // SAFETY: a page of ours, which stays what it is.
            unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(at), SIZE as usize, advice) };
        }
        TURNS.fetch_add(1, Ordering::Release);
    }
}

/// How often the one thread has changed the mapping, and whether the other one has got its page.
static TURNS: AtomicU64 = AtomicU64::new(0);
static FAULTED: AtomicBool = AtomicBool::new(false);
/// Whether they may begin.
static BEGUN: AtomicBool = AtomicBool::new(false);

extern "C" fn end(_signal: libc::c_int) {
    // SAFETY: a system call; nothing of this process runs any more.
    unsafe { libc::_exit(0) };
}

/// Text of a path for an actor.
pub fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("an odd path")?;
    CString::new(text)?;
    Ok(text.to_owned())
}
