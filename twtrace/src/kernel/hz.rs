//! Owns: how many jiffies a second the running kernel counts (CONFIG_HZ).
//! Must not know: what jiffies are used for.

use nix::time::{ClockId, clock_getres};

const NANOS_PER_SEC: u64 = 1_000_000_000;
/// The HZ that the kernel can be built with (include/linux/jiffies.h, 5.10 to 7.3, refuses others).
const POSSIBLE_HZ: std::ops::Range<u64> = 12..12288;

/// Jiffies a second (CONFIG_HZ) of the running kernel, without a look at its configuration, which is often not to be
/// had: the resolution of CLOCK_MONOTONIC_COARSE is one tick by definition (posix_get_coarse_res(),
/// kernel/time/posix-timers.c, 5.10 to 7.3; `TICK_NSEC`, include/vdso/jiffies.h, 5.10 to 7.3), also on a tickless
/// kernel and inside containers.
///
/// `None` where the clock is denied (seccomp) or says what no kernel can.
pub fn hz() -> Option<u32> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    if tick.tv_sec() != 0 {
        return None;
    }
    hz_of_tick(u64::try_from(tick.tv_nsec()).ok()?)
}

/// HZ from the length of a tick, which the kernel has rounded to whole nanoseconds.
fn hz_of_tick(tick_ns: u64) -> Option<u32> {
    let hz = (NANOS_PER_SEC + tick_ns / 2).checked_div(tick_ns)?;
    let exact = POSSIBLE_HZ.contains(&hz) && (NANOS_PER_SEC + hz / 2) / hz == tick_ns;
    exact.then_some(hz as u32)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_tick_length_is_turned_back_into_its_hz() {
        for hz in POSSIBLE_HZ {
            let tick_ns = (NANOS_PER_SEC + hz / 2) / hz;
            assert_eq!(hz_of_tick(tick_ns), Some(hz as u32), "tick of {tick_ns} ns");
        }
        assert_eq!(hz_of_tick(3_333_333), Some(300));
        assert_eq!(hz_of_tick(976_563), Some(1024));
    }

    #[test]
    fn what_is_no_tick_is_refused() {
        for tick_ns in [0, 1, 2, 1_000_001, 999_999_999, u64::MAX / 2] {
            assert_eq!(hz_of_tick(tick_ns), None, "tick of {tick_ns} ns");
        }
    }

    /// Where the kernel shows its configuration it must agree; where it does not, HZ must be one of Kconfig's.
    #[test]
    fn the_running_kernel_agrees() {
        let script = "zcat /proc/config.gz 2>/dev/null || cat \"/boot/config-$(uname -r)\" 2>/dev/null";
        let config = Command::new("sh").args(["-c", script]).output().expect("a shell").stdout;
        let config = String::from_utf8_lossy(&config);
        let configured = config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ="));
        let measured = hz().expect("CLOCK_MONOTONIC_COARSE");
        match configured {
            Some(configured) => assert_eq!(measured.to_string(), configured),
            None => assert!([100, 250, 300, 1000].contains(&measured), "{measured}"),
        }
    }
}
