//! Owns: giving up capabilities and new privileges on every thread. The kernel keeps them for each thread by itself.
//! Must not know: which are needed.
//!
//! A thread can do that for itself only. So each is sent a signal, and does it in its handler, as C libraries do for setuid(2) (nptl(7)).
//! Whether it has is read from /proc, which is the kernel's word.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::Lack;
use crate::host::caps;
use crate::host::identity::status_field;

/// A thread that has not after so many looks, some two seconds, hangs in the kernel. Looks and no clock: while this process is stopped, nobody
/// can answer.
const POLLS: u32 = 4000;
const POLL: Duration = Duration::from_micros(500);
/// `_LINUX_CAPABILITY_VERSION_3` (include/uapi/linux/capability.h, 6.12).
const VERSION_3: u32 = 0x2008_0522;
/// The kernel knows fewer.
const CAPS: u32 = 64;

/// What a handler is to leave.
static MASK: AtomicU64 = AtomicU64::new(u64::MAX);

/// Leaves the capabilities of `mask`, and no way to new ones, to every thread; threads that are started later have them from those.
pub(super) fn give_up(mask: u64) -> Result<(), Lack> {
    let failed = |error: io::Error| Lack::Capabilities(error.to_string());
    give_up_here(mask).map_err(failed)?;
    MASK.store(mask, Ordering::SeqCst);
    let signal = libc::SIGRTMAX();
    let before =
        handle(signal, on_signal as *const () as libc::sighandler_t, libc::SA_RESTART).map_err(failed)?;
    // Where a thread has not answered the handler stays: it does when it comes back, and without it the signal would end the process.
    tell_all(mask, signal)?;
    // Nobody is to send it to us later and be heard.
    // SAFETY: an action that the kernel has just given us.
    unsafe { libc::sigaction(signal, &raw const before, std::ptr::null_mut()) };
    Ok(())
}

fn tell_all(mask: u64, signal: i32) -> Result<(), Lack> {
    let (mut told, mut names) = (Vec::new(), Vec::new());
    for _ in 0..POLLS {
        let left = left(mask).map_err(|error| Lack::Capabilities(format!("/proc/self/task: {error}")))?;
        if left.is_empty() {
            return Ok(());
        }
        names.clear();
        for (thread, name) in left {
            names.push(name);
            if !told.contains(&thread) {
                told.push(thread);
                // SAFETY: numbers only. One that has ended meanwhile needs nothing.
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
            }
        }
        // poll: a handler can say nothing that could be waited for together with the end of its thread.
        std::thread::sleep(POLL);
    }
    Err(Lack::Threads(names.join(", ")))
}

/// Threads that have more than `mask`, or could get more, with their names.
fn left(mask: u64) -> io::Result<Vec<(i32, String)>> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        // It may have ended.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(thread) = thread.filter(|_| !has_given_up(&status, mask)) {
            left.push((thread, status_field(&status, "Name:").unwrap_or_default().to_owned()));
        }
    }
    Ok(left)
}

/// proc_pid_status(5). A thread that has ended and is still listed has no line for what it no longer has.
fn has_given_up(status: &str, mask: u64) -> bool {
    let permitted = caps::set(status, "CapPrm:");
    let is_over = matches!(status_field(status, "State:"), Some(state) if state.starts_with(['Z', 'X']));
    is_over
        || (permitted.is_some_and(|has| has & !mask == 0) && status_field(status, "NoNewPrivs:") == Some("1"))
}

fn handle(signal: i32, handler: libc::sighandler_t, flags: i32) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroes are a sigaction, and its fields are set to a handler that does system calls only.
    let done = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(signal, &raw const action, before.as_mut_ptr())
    };
    Errno::result(done)?;
    // SAFETY: the kernel has filled it in.
    Ok(unsafe { before.assume_init() })
}

extern "C" fn on_signal(_: libc::c_int) {
    let errno = Errno::last_raw();
    // Whether it worked shows in /proc.
    let _ = give_up_here(MASK.load(Ordering::SeqCst));
    Errno::set_raw(errno);
}

/// As [`give_up`], for the calling thread alone. System calls only: it runs in a handler as well.
pub(super) fn give_up_here(mask: u64) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    for cap in (0..CAPS).filter(|cap| mask >> cap & 1 == 0) {
        // SAFETY: numbers only. It takes CAP_SETPCAP; without, no_new_privs keeps exec() from giving what is left in the bounding set.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), zero, zero, zero) } != 0 {
            break;
        }
    }
    let header = [VERSION_3, 0];
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    // effective, permitted, inheritable; the lower half first.
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: numbers, and arrays of the size that capset(2) reads.
    unsafe {
        let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
        libc::prctl(libc::PR_CAP_AMBIENT, clear, zero, zero, zero);
        Errno::result(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()))?;
        let one: libc::c_ulong = 1;
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set for the process that gives up, which is another one than that of all tests.
    const CHILD: &str = "TWTRACE_TEST_GIVES_UP";

    #[test]
    fn a_thread_that_answers_late_gives_up_then() {
        if std::env::var_os(CHILD).is_some() {
            return with_a_late_thread();
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", &name]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    }

    fn with_a_late_thread() {
        let mask = caps::Caps::own().permitted();
        let ((is_deaf, deaf), (hears_again, go)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let late = std::thread::spawn(move || {
            hear(libc::SIG_BLOCK);
            is_deaf.send(()).unwrap();
            go.recv().unwrap();
            hear(libc::SIG_UNBLOCK);
            has_given_up(&fs::read_to_string("/proc/thread-self/status").unwrap(), mask)
        });
        deaf.recv().unwrap();
        let lack = give_up(mask).unwrap_err();
        assert!(matches!(lack, Lack::Threads(_)), "{lack}");
        hears_again.send(()).unwrap();
        assert!(late.join().unwrap());
    }

    fn hear(how: libc::c_int) {
        // SAFETY: a set of signals that is made here, for the calling thread.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
            libc::sigaddset(&raw mut set, libc::SIGRTMAX());
            libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
        }
    }

    #[test]
    fn a_thread_has_given_up_when_it_can_get_nothing_more() {
        let status = |caps: &str, new: u8| {
            format!("Name:\tx\nState:\tS (sleeping)\nCapPrm:\t{caps}\nNoNewPrivs:\t{new}\n")
        };
        assert!(has_given_up(&status("0000000000280000", 1), 0x28_0004));
        assert!(!has_given_up(&status("0000000000280001", 1), 0x28_0004));
        assert!(!has_given_up(&status("0000000000280000", 0), 0x28_0004));
        assert!(!has_given_up("", 0));
        assert!(has_given_up("Name:\tx\nState:\tX (dead)\n", 0));
    }
}
