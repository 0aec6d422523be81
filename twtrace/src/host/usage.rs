//! Owns: what this process takes of the machine: CPU time, memory, descriptors.
//! Must not know: what it does with it.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};

/// See the head of the file. What cannot be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all threads, user and system, in seconds.
    pub cpu_s: f64,
    /// Memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// File descriptors.
    pub open_fds: Option<u64>,
    /// The most that there may be.
    pub max_fds: Option<u64>,
    /// When the process started, in seconds since 1970.
    pub started_s: f64,
}

impl Usage {
    /// Now, of a process that started at `started_s`.
    pub fn read(started_s: f64) -> Self {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let cpu = getrusage(UsageWho::RUSAGE_SELF);
        Self {
            cpu_s: cpu.map_or(0.0, |cpu| seconds(cpu.user_time()) + seconds(cpu.system_time())),
            resident_bytes: resident_bytes(),
            // Of those, one is of the folder that is read.
            open_fds: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            started_s,
        }
    }
}

/// Field 2 of /proc/self/statm (proc_pid_statm(5)), which is in pages.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

/// What an allocation takes at least, in bytes, that is given back as soon as it is freed; and how much of what is free each thread keeps.
const KEPT: libc::c_int = 1 << 20;

/// Tells the allocator to keep little of what is freed. Looking at the kernel's types takes some 20 MB for a moment; glibc learns from
/// that to keep twice as much at hand, in each thread (mallopt(3), "dynamic mmap threshold"). To be called before there are other threads.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions but that; where a value is not taken, the allocator stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_something_of_everything() {
        let usage = Usage::read(17.5);
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{usage:?}");
        assert!(
            usage.open_fds.zip(usage.max_fds).is_some_and(|(open, max)| open >= 3 && open <= max),
            "{usage:?}"
        );
        assert_eq!(usage.started_s, 17.5);
    }
}
