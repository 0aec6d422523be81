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

    /// Takes over both clocks as they are `now`, where the calendar was set since, or the machine slept, in which CLOCK_MONOTONIC stands still
    /// (clock_gettime(2)); whether that is so.
    pub fn follow(&mut self, now: Self) -> bool {
        /// Less lies between the readings of two clocks.
        const STEP_NS: u64 = 1_000_000_000;
        let has_stepped = now.wall_ns.wrapping_sub(self.wall_ns(now.mono_ns)).unsigned_abs() >= STEP_NS;
        if has_stepped {
            *self = now;
        }
        has_stepped
    }

    /// With CLOCK_BOOTTIME, which goes on while the machine sleeps, in the place of CLOCK_MONOTONIC: for times that are compared with nothing of
    /// the kernel's.
    pub fn of_boot() -> Self {
        Self { mono_ns: read(libc::CLOCK_BOOTTIME) as u64, wall_ns: read(libc::CLOCK_REALTIME) }
    }

    /// The calendar time of a monotonic time stamp, in nanoseconds since 1970.
    pub fn wall_ns(&self, mono_ns: u64) -> i64 {
        self.wall_ns.wrapping_add(mono_ns.wrapping_sub(self.mono_ns) as i64)
    }

    /// The same, to be shown.
    pub fn time(&self, mono_ns: u64) -> jiff::Timestamp {
        // Nanoseconds of 64 bits reach no year that has no date.
        jiff::Timestamp::from_nanosecond(self.wall_ns(mono_ns).into()).unwrap_or_default()
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

/// What this process's time namespace adds to start times in `/proc/PID/stat`, in nanoseconds: what it adds to CLOCK_BOOTTIME; or nothing, by
/// a kernel that shows start times as they are (do_task_stat(), fs/proc/array.c, 5.10 does, 6.1 to 7.3 do not).
pub fn start_offset_ns() -> i64 {
    static SHOWN: OnceLock<i64> = OnceLock::new();
    *SHOWN.get_or_init(|| {
        let (boot_ns, now_ns) = (offsets().boot_ns, read(libc::CLOCK_BOOTTIME));
        let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Field 22 (proc_pid_stat(5)), in hundredths of a second; field 3 is the first after the name.
        let ticks = own
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(22 - 3)?.parse::<i64>().ok());
        shown_offset(boot_ns, ticks.unwrap_or(0).saturating_mul(10_000_000), now_ns)
    })
}

/// Whether start times have `offset_ns` in them: this process, which started at `start_ns` as is shown, is young at `now_ns` of its
/// namespace's clock, and older than nothing.
fn shown_offset(offset_ns: i64, start_ns: i64, now_ns: i64) -> i64 {
    /// Start times are rounded down.
    const TICK_NS: i64 = 10_000_000;
    let with = now_ns.saturating_sub(start_ns);
    let without = with.saturating_sub(offset_ns);
    let is_plain = without >= -TICK_NS && (with < -TICK_NS || without < with);
    if is_plain { 0 } else { offset_ns }
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
        // Inode of the first time namespace (PROC_TIME_INIT_INO, include/linux/proc_ns.h, 5.10 to 7.3); a kernel
        // without them has no such file.
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
    fn a_calendar_that_was_set_is_followed_and_one_that_runs_is_not() {
        const SECOND: i64 = 1_000_000_000;
        let mut clock = Clock { mono_ns: 7, wall_ns: 100 * SECOND };
        let later = |wall_s: i64| Clock { mono_ns: 7 + 1000 * SECOND as u64, wall_ns: wall_s * SECOND };
        assert!(!clock.follow(later(1100)));
        assert!(!clock.follow(Clock { wall_ns: 1100 * SECOND + SECOND - 1, ..later(0) }));
        assert_eq!(clock.mono_ns, 7);
        for set in [1101, 1099, 5, 1 << 33] {
            let mut clock = clock;
            assert!(clock.follow(later(set)), "{set}");
            assert_eq!(clock, later(set));
        }
    }

    #[test]
    fn start_times_are_read_with_their_offset_or_without() {
        const SECOND: i64 = 1_000_000_000;
        for offset in [1_000_003 * SECOND, 7 * SECOND, -70 * SECOND] {
            // The machine has been up for 100 s, this process was made at 97 s.
            let (now, start) = (100 * SECOND + offset, 97 * SECOND);
            assert_eq!(shown_offset(offset, start + offset, now), offset, "{offset}");
            assert_eq!(shown_offset(offset, start, now), 0, "{offset}");
        }
        assert_eq!(shown_offset(0, 97 * SECOND, 100 * SECOND), 0);
    }

    #[test]
    fn offsets_of_a_time_namespace_are_read_in_both_forms() {
        let want = Offsets { mono_ns: 172_800_000_000_007, boot_ns: -5_000_000_000 };
        assert_eq!(offsets_in("monotonic      172800         7\nboottime       -5         0\n"), want);
        assert_eq!(offsets_in("1 172800 7\n7 -5 0\n"), want);
        assert_eq!(offsets_in("monotonic\n\nx 1 2\n"), Offsets::default());
    }
}
