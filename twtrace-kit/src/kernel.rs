//! Owns: what the running kernel itself can and cannot do, as far as an outcome depends on it.
//! Must not know: what is tested. No expectation of that may be softened here.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context, Result};

/// Version of the running kernel: major and minor.
pub fn version() -> Result<(u32, u32)> {
    let path = "/proc/sys/kernel/osrelease";
    parse(&fs::read_to_string(path).context(path)?)
}

fn parse(release: &str) -> Result<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next =
        || numbers.next().and_then(Result::ok).with_context(|| format!("kernel release {release:?}"));
    Ok((next()?, next()?))
}

/// Whether the counters TW and TWKilled tell births: with 5.18 they moved from the end of a TIME_WAIT socket (tw_timer_handler(),
/// net/ipv4/inet_timewait_sock.c, 5.10) to its creation (__inet_twsk_schedule(), there, 6.1 to 7.3), by "tcp/dccp: no longer use
/// twsk_net(tw) from tw_timer_handler()". 5.10 and 6.1 were measured.
pub fn counts_creations() -> Result<bool> {
    Ok(counts_creations_in(version()?))
}

fn counts_creations_in(version: (u32, u32)) -> bool {
    version >= (5, 18)
}

/// Inode of the machine's first PID namespace: `PROC_PID_INIT_INO`, include/linux/proc_ns.h, 5.10 to 7.3.
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Whether pids here are those that the kernel side tells: in another PID namespace (a container) they are not.
///
/// # Errors
/// Where no /proc is mounted.
pub fn has_first_pids() -> Result<bool> {
    let path = "/proc/self/ns/pid";
    Ok(fs::metadata(path).context(path)?.ino() == FIRST_PID_NAMESPACE)
}

/// Whether this machine's processor is emulated in software, as QEMU's TCG says of itself: then seconds are not what they were.
pub fn is_emulated() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("QEMU TCG"))
}

#[cfg(test)]
mod tests {
    use super::{counts_creations_in, parse};

    #[test]
    fn releases_of_all_styles_are_read() {
        for (release, version) in
            [("5.10.0-46-cloud-amd64", (5, 10)), ("6.18.44-fc", (6, 18)), ("7.3", (7, 3))]
        {
            assert_eq!(parse(release).expect("a good release"), version);
        }
    }

    #[test]
    fn births_are_counted_from_5_18_on() {
        for (version, births) in
            [((5, 10), false), ((5, 17), false), ((5, 18), true), ((6, 1), true), ((7, 0), true)]
        {
            assert_eq!(counts_creations_in(version), births, "{version:?}");
        }
    }
}
