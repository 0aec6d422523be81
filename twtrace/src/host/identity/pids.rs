//! Owns: whether the pids under /proc are those that the kernel side tells, and whether one of them is in use.
//! Must not know: which process is wanted.
//!
//! The kernel side tells pids of the machine's own PID namespace. In another one, /proc has other numbers for the same
//! processes, and the same numbers for others: nothing may be looked up there by pid.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::model::limitation::{Limitation, What};

/// The initial PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h, 5.10 to 7.3).
const INITIAL: &str = "pid:[4026531836]";

const REMEDY: &str = "run it in the machine's PID namespace: docker run --pid=host, or on the machine itself (nsenter -t 1 -p -m)";

/// Whether a pid that the kernel side tells is the same process under /proc.
pub fn are_the_kernels() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER
        .get_or_init(|| are_initial(fs::read_link("/proc/self/ns/pid"), || fs::read_link("/proc/1/ns/pid")))
}

/// Whether this process is in the machine's own PID namespace: then it can send signals by the kernel's pids.
pub fn are_ours() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == INITIAL)
}

/// Whether a process has this pid of the kernel's. Only to be asked where [`are_ours`].
pub fn exists(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// What is not known where they are others.
pub fn limitations() -> Vec<Limitation> {
    if are_the_kernels() {
        return Vec::new();
    }
    let why =
        "this is not the machine's PID namespace: pids are those of the machine, and /proc knows others";
    vec![Limitation::new(What::Processes, why, REMEDY), Limitation::new(What::Namespaces, why, REMEDY)]
}

/// How a user comes to have the kernel's pids.
pub fn remedy() -> &'static str {
    REMEDY
}

/// A process that /proc knows lives in the namespace of /proc or below it: if it is in the initial one, /proc is of that. Else the
/// first process of /proc tells, where it may be asked.
fn are_initial(own: io::Result<PathBuf>, first: impl FnOnce() -> io::Result<PathBuf>) -> bool {
    let is_initial = |link: PathBuf| link.as_os_str() == INITIAL;
    own.is_ok_and(is_initial) || first().is_ok_and(is_initial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proc_of_the_initial_namespace_has_the_kernels_pids() {
        let initial = || Ok(PathBuf::from(INITIAL));
        let other = || Ok(PathBuf::from("pid:[4026532777]"));
        let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(are_initial(initial(), denied));
        // The machine's /proc in a namespace of our own: its pids are the kernel's, ours are not.
        assert!(are_initial(other(), initial));
        assert!(!are_initial(other(), other));
        assert!(!are_initial(other(), denied));
        assert!(!are_initial(denied(), denied));
    }

    #[test]
    fn this_process_exists() {
        assert!(exists(std::process::id()));
        assert!(!exists(u32::MAX));
    }
}
