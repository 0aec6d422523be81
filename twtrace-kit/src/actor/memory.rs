//! Owns: making a process's arguments lie in a page that never comes, and the lock of its memory be held by who waits for another.
//! Must not know: whose file that page is of, and who is to wait.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};

use crate::wait::{PATIENCE, until_true};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Puts a page of the file `path` in the place of the page in which the calling process's arguments begin, as any process can. What else is
/// there, of the environment and of the first functions that ran, must not be needed any more.
fn hang_arguments(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    // Field 48 (proc_pid_stat(5)); field 3 is the first after the name.
    let start: u64 = rest.split_ascii_whitespace().nth(48 - 3).context("no arguments in stat")?.parse()?;
    let page = start / PAGE * PAGE;
    let here = (&raw const page).addr() as u64;
    ensure!(here + 4 * PAGE < page, "the stack at {here:#x} is too close to the arguments at {page:#x}");
    let at = std::ptr::without_provenance_mut(usize::try_from(page)?);
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    // SAFETY: the page is of our own stack, above all that is still to run in this process, which never returns there.
    let mapped = unsafe { libc::mmap(at, PAGE as usize, libc::PROT_READ, flags, file.as_raw_fd(), 0) };
    ensure!(mapped != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    Ok(())
}

/// As [`hang_arguments`]; besides, one thread of the calling process waits for another page of `path` with the lock of the process's memory
/// held, and a second one for that lock: from then on, whoever wants to look at this memory waits as well. The process itself can go on as
/// long as it needs no new memory.
pub(super) fn hold(path: &Path) -> Result<()> {
    keep_freed();
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    // SAFETY: a new mapping.
    let page = unsafe {
        let (length, fd) = (PAGE as usize, file.as_raw_fd());
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
fn keep_freed() {
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
            unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(at), PAGE as usize, advice) };
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
