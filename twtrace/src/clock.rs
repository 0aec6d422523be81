//! Owns: what ties the kernel's monotonic time stamps to the calendar.
//! Must not know: who needs the time. The tracker is never given one of these: it reads no clock.

use std::sync::OnceLock;

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

/// CLOCK_MONOTONIC in nanoseconds as the kernel itself has it (`bpf_ktime_get_ns`): in a time namespace that is another one than
/// programs read.
pub fn mono_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC).wrapping_sub(offsets().mono_ns) as u64
}

/// How long the calling thread has run on a processor, in nanoseconds: unlike the clock on the wall it does not go on while others run.
pub fn thread_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID) as u64
}

/// What this process's time namespace adds to CLOCK_BOOTTIME, in nanoseconds: `/proc/PID/stat` has it in start times.
pub fn boottime_offset_ns() -> i64 {
    offsets().boot_ns
}

/// What a time namespace adds to the kernel's clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offsets {
    mono_ns: i64,
    boot_ns: i64,
}

/// They cannot change once a process is in the namespace (time_namespaces(7)).
fn offsets() -> Offsets {
    static OFFSETS: OnceLock<Offsets> = OnceLock::new();
    *OFFSETS.get_or_init(|| {
        // Inode of the first time namespace (PROC_TIME_INIT_INO, include/linux/proc_ns.h); a kernel without them has no such file.
        let own = std::fs::read_link("/proc/self/ns/time");
        if own.map_or(true, |link| link.as_os_str() == "time:[4026531834]") {
            return Offsets::default();
        }
        offsets_in(&std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default())
    })
}

/// `monotonic  172800  0`: seconds and nanoseconds. Older kernels name clocks by number: 1 and 7.
fn offsets_in(text: &str) -> Offsets {
    let mut offsets = Offsets::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (clock, mut number) = (words.next(), || words.next().and_then(|word| word.parse::<i64>().ok()));
        let Some((seconds, nanos)) = number().zip(number()) else { continue };
        let all = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
        match clock {
            Some("monotonic" | "1") => offsets.mono_ns = all,
            Some("boottime" | "7") => offsets.boot_ns = all,
            _ => {}
        }
    }
    offsets
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec of ours; these clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_a_time_namespace_are_read_in_both_forms() {
        let want = Offsets { mono_ns: 172_800_000_000_007, boot_ns: -5_000_000_000 };
        assert_eq!(offsets_in("monotonic      172800         7\nboottime       -5         0\n"), want);
        assert_eq!(offsets_in("1 172800 7\n7 -5 0\n"), want);
        assert_eq!(offsets_in("monotonic\n\nx 1 2\n"), Offsets::default());
    }
}
