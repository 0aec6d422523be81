//! Owns: how many descriptors this process may have.
//! Must not know: what they are for.

use std::sync::OnceLock;

/// The limit that this process was started with.
static BEFORE: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one: a trace has a descriptor for each map, program and hook. To be called once at start.
pub fn raise() {
    let Some(now) = read() else { return };
    let before = *BEFORE.get_or_init(|| now);
    if before.rlim_cur < before.rlim_max {
        let raised = libc::rlimit { rlim_cur: before.rlim_max, rlim_max: before.rlim_max };
        // SAFETY: a valid rlimit. Where it is refused the limit stays.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    }
}

/// Gives the calling process, a child that is about to become another program, the limit that this one was started with.
/// Safe between fork() and exec().
pub fn restore() {
    if let Some(before) = BEFORE.get() {
        // SAFETY: a valid rlimit.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const *before) };
    }
}

/// How many there may be now.
pub fn limit() -> u64 {
    read().map_or(0, |limit| limit.rlim_cur)
}

fn read() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: an rlimit of ours.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (done == 0).then_some(limit)
}
