//! Owns: the filters of system calls: made, and put on threads.
//! Must not know: what each call is for (`calls`).
//!
//! There are three, of which the strictest answer counts: what no trace ever does kills the process; clone3(2), whose flags no filter can
//! see, is not there, so that C libraries take clone(2); and whatever is not on the list is refused with EPERM, which ends in an error.

use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::calls::{self, Rules};
use super::{Lack, Needs};

/// Which threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The calling one, and those that it starts.
    ThisThread,
    /// Every one.
    AllThreads,
}

/// Puts the filters on. `no_new_privs` must be set.
pub(super) fn apply(needs: &Needs, scope: Scope) -> Result<(), Lack> {
    let failed = |error: &dyn std::fmt::Display| Lack::Seccomp(error.to_string());
    let programs = programs(needs).map_err(|error| failed(&error))?;
    programs.iter().try_for_each(|program| install(program, scope)).map_err(|error| failed(&error))
}

fn programs(needs: &Needs) -> Result<[BpfProgram; 3], seccompiler::BackendError> {
    let allow = SeccompAction::Allow;
    let errno = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    Ok([
        compile(calls::hostile()?, allow.clone(), SeccompAction::KillProcess)?,
        compile(calls::hidden(), allow.clone(), errno(libc::ENOSYS))?,
        // The last: it allows no other to be put on.
        compile(calls::needed(needs)?, errno(libc::EPERM), allow)?,
    ])
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(rules, otherwise, matched, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn install(program: &BpfProgram, scope: Scope) -> io::Result<()> {
    // A filter makes kernels before 5.16 run the process without speculation, at a cost, unless it says that it need
    // not (arch_seccomp_spec_mitigate(), arch/x86/kernel/cpu/bugs.c, 5.10).
    let everybody = if scope == Scope::AllThreads { libc::SECCOMP_FILTER_FLAG_TSYNC } else { 0 };
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | everybody;
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(io::Error::other)?,
        // Both are `struct sock_filter`; the kernel only reads it.
        filter: program.as_ptr().cast_mut().cast(),
    };
    let set = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: a program that lives longer than the call, with its length.
    match unsafe { libc::syscall(libc::SYS_seccomp, set, flags, &raw const program) } {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!("thread {thread} has a filter of its own"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    /// What `work` says on a thread with the filters.
    fn within<T: Send + 'static>(needs: Needs, work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(move || {
            super::super::threads::give_up_here(u64::MAX).ok();
            // SAFETY: numbers only.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            apply(&needs, Scope::ThisThread).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    fn errno<T>(done: io::Result<T>) -> Option<i32> {
        done.err().and_then(|error| error.raw_os_error())
    }

    fn make(path: &std::path::Path) -> Option<i32> {
        errno(OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(path))
    }

    fn socket(domain: i32) -> Option<i32> {
        // SAFETY: numbers only.
        let done = unsafe { libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 4) };
        errno(nix::errno::Errno::result(done).map_err(io::Error::from))
    }

    #[test]
    fn files_can_be_read_and_not_written_unless_that_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, "kept").unwrap();
        let (there, free) = (old.clone(), new.clone());
        let refused = within(Needs::default(), move || {
            let write = |truncate| errno(OpenOptions::new().write(true).truncate(truncate).open(&there));
            (
                errno(File::open(&there)),
                write(false),
                write(true),
                make(&free),
                errno(std::fs::rename(&there, &free)),
            )
        });
        let eperm = Some(libc::EPERM);
        assert_eq!(refused, (None, eperm, eperm, eperm, eperm));
        let files = Needs { files: true, ..Needs::default() };
        let there = old.clone();
        let may = within(files, move || (make(&new), errno(OpenOptions::new().write(true).open(&there))));
        assert_eq!((may, std::fs::read_to_string(&old).unwrap().as_str()), ((None, eperm), "kept"));
    }

    #[test]
    fn threads_can_be_started_and_processes_cannot() {
        let (thread, process) = within(Needs::default(), || {
            let thread = std::thread::Builder::new()
                .name("seven".into())
                .spawn(|| 7)
                .map(|thread| thread.join().unwrap());
            // SAFETY: the child, if there is one, does nothing but end.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) };
            }
            (thread.unwrap(), errno(nix::errno::Errno::result(child).map_err(io::Error::from)))
        });
        assert_eq!((thread, process), (7, Some(libc::EPERM)));
    }

    #[test]
    fn the_network_is_for_those_who_need_it() {
        let tcp = || errno(std::net::TcpListener::bind("127.0.0.1:0"));
        assert_eq!(
            within(Needs::default(), move || (socket(libc::AF_NETLINK), tcp())),
            (None, Some(libc::EPERM))
        );
        let needs = Needs { network: true, ..Needs::default() };
        assert_eq!(within(needs, tcp), None);
    }

    #[test]
    fn what_no_trace_does_kills() {
        // SAFETY: the child makes system calls and ends; it allocates, which a child of a process with threads may do with this C library.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let none = std::ptr::null::<libc::c_char>();
            // SAFETY: a program that is not run, without arguments.
            unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                let on = apply(&Needs::default(), Scope::ThisThread);
                libc::execve(c"/bin/true".as_ptr(), [none].as_ptr(), [none].as_ptr());
                libc::_exit(if on.is_ok() { 1 } else { 2 })
            }
        }
        let ended = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None).unwrap();
        assert!(
            matches!(ended, nix::sys::wait::WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGSYS, _)),
            "{ended:?}"
        );
    }
}
