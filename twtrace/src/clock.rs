//! Owns: what ties the kernel's monotonic time stamps to the calendar.
//! Must not know: who needs the time. The tracker is never given one of these: it reads no clock.

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// CLOCK_MONOTONIC in nanoseconds, the kernel's `bpf_ktime_get_ns`.
    pub mono_ns: u64,
    /// CLOCK_REALTIME in nanoseconds since 1970.
    pub wall_ns: i64,
}

impl Clock {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { mono_ns: mono_ns(), wall_ns: read(libc::CLOCK_REALTIME) }
    }

    /// The calendar time of a monotonic time stamp, in nanoseconds since 1970.
    pub fn wall_ns(&self, mono_ns: u64) -> i64 {
        self.wall_ns.wrapping_add(mono_ns.wrapping_sub(self.mono_ns) as i64)
    }
}

/// Names this run of the kernel: only within it can CLOCK_MONOTONIC and socket cookies be compared. Empty where nobody knows.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn mono_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC) as u64
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec of ours; both clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
