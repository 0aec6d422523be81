//! Owns: how long the drain lets records gather before it looks at the ring again.
//! Must not know: the ring, clocks, how it waits.

use std::time::Duration;

/// While records come, the ring is looked at this often.
const BUSY: Duration = Duration::from_millis(25);
/// While many come: each look finds the processor's caches full of others' memory, and the fewer there are the less it costs.
const CROWDED: Duration = Duration::from_millis(50);
/// As many are many, in bytes a second: some 3,500 sockets that come and go.
const MANY: u64 = 1 << 20;
/// While none have come for a moment: the kernel side announces only that much is waiting.
const QUIET: Duration = Duration::from_millis(100);
/// While none have come for a second: the kernel itself wakes the reader of an empty ring (bpf_ringbuf_commit(),
/// kernel/bpf/ringbuf.c, 5.10 to 7.3), so this is for nothing but what nobody has thought of.
const IDLE: Duration = Duration::from_secs(10);
/// While a record that is still being written hides those behind it, which somebody waits for.
const HELD_UP: Duration = Duration::from_millis(5);
/// Looks that find nothing before the ring counts as quiet.
const QUIET_READS: u32 = 4;
/// And as idle.
const IDLE_READS: u32 = QUIET_READS + 9;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Pace {
    /// Looks since anything was found.
    empty_reads: u32,
    /// When the ring was last looked at, CLOCK_MONOTONIC in nanoseconds.
    read_ns: u64,
    is_crowded: bool,
    is_held_up: bool,
}

impl Pace {
    /// Nothing has come yet.
    pub(super) fn new() -> Self {
        Self { empty_reads: QUIET_READS, read_ns: 0, is_crowded: false, is_held_up: false }
    }

    /// The ring was looked at, at `at_ns` of CLOCK_MONOTONIC, and so many bytes were found in it.
    pub(super) fn read(&mut self, at_ns: u64, bytes: u64) {
        let since_ns = at_ns.saturating_sub(std::mem::replace(&mut self.read_ns, at_ns));
        self.is_crowded = u128::from(bytes) * 1_000_000_000 >= u128::from(MANY) * u128::from(since_ns.max(1));
        self.empty_reads = if bytes == 0 { (self.empty_reads + 1).min(IDLE_READS) } else { 0 };
        self.is_held_up = false;
    }

    /// Somebody waits for what a record that is still being written hides.
    pub(super) fn hold_up(&mut self) {
        self.is_held_up = true;
    }

    /// When to look again, if nothing wakes the reader before.
    pub(super) fn pause(&self) -> Duration {
        match self.empty_reads {
            _ if self.is_held_up => HELD_UP,
            reads if reads >= IDLE_READS => IDLE,
            reads if reads >= QUIET_READS => QUIET,
            _ if self.is_crowded => CROWDED,
            _ => BUSY,
        }
    }

    /// Whether the first wake-up is no news: that says that the ring is no longer empty, and the next one that much is in it.
    pub(super) fn ignores_first(&self) -> bool {
        self.empty_reads < QUIET_READS && !self.is_held_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn many_records_gather_for_longer_and_few_do_not() {
        let mut pace = Pace::new();
        assert_eq!((pace.pause(), pace.ignores_first()), (QUIET, false));
        pace.read(1_000 * MS, 200);
        assert_eq!((pace.pause(), pace.ignores_first()), (BUSY, true));
        // 27 kB in 25 ms are more than a MiB a second, and 26 kB are less.
        pace.read(1_025 * MS, 27_000);
        assert_eq!((pace.pause(), pace.ignores_first()), (CROWDED, true));
        pace.read(1_050 * MS, 26_000);
        assert_eq!(pace.pause(), BUSY);
        // A wake-up in between: it is the rate that counts.
        pace.read(1_052 * MS, 2_500);
        assert_eq!(pace.pause(), CROWDED);
    }

    #[test]
    fn it_becomes_quiet_and_idle_and_wakes_for_the_first() {
        let mut pace = Pace::new();
        pace.read(1_000 * MS, 1 << 20);
        let pauses = (1..=14).map(|at| {
            pace.read((1_000 + at * 100) * MS, 0);
            (pace.pause(), pace.ignores_first())
        });
        let pauses: Vec<_> = pauses.collect();
        assert_eq!(pauses[..3], [(BUSY, true); 3]);
        assert_eq!(pauses[3..12], [(QUIET, false); 9]);
        assert_eq!(pauses[12..], [(IDLE, false); 2]);
        pace.read(99_000 * MS, 80);
        assert_eq!(pace.pause(), BUSY);
    }

    #[test]
    fn who_is_held_up_looks_again_at_once() {
        let mut pace = Pace::new();
        pace.read(1_000 * MS, 1 << 20);
        pace.hold_up();
        assert_eq!((pace.pause(), pace.ignores_first()), (HELD_UP, false));
        pace.read(1_005 * MS, 200);
        assert_eq!((pace.pause(), pace.ignores_first()), (BUSY, true));
    }
}
