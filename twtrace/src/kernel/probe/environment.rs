//! Owns: what about this process and this machine keeps the kernel from doing what it is asked: capabilities, user
//! namespace, lockdown, hidden addresses, too few descriptors.
//! Must not know: backends, programs.

use std::fs;

use crate::host::caps::{self, Cap, Caps};
use crate::host::detached::Detached;

/// What a process must have to trace.
pub(super) const TO_TRACE: [Cap; 2] = [Cap::Bpf, Cap::Perfmon];

/// The level of lockdown at which programs may not read kernel memory.
const CONFIDENTIALITY: &str = "confidentiality";

/// Why the kernel said EPERM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// These capabilities are missing.
    Capabilities(Caps, Vec<Cap>),
    /// Capabilities within a user namespace are none to BPF.
    UserNamespace,
    /// Kernel lockdown: its level.
    Lockdown(String),
    /// A seccomp filter is in force.
    Seccomp,
    /// Nothing of that.
    Unknown,
}

impl Denial {
    /// Looks for what is in the way.
    pub(super) fn find(needed: &[Cap]) -> Self {
        let caps = Caps::own();
        let missing = caps.missing(needed);
        if !missing.is_empty() {
            return Self::Capabilities(caps, missing);
        }
        if caps::in_user_namespace() {
            return Self::UserNamespace;
        }
        // At integrity, programs may still read and trace.
        if let Some(level) = lockdown().filter(|level| level == CONFIDENTIALITY) {
            return Self::Lockdown(level);
        }
        if is_filtered() { Self::Seccomp } else { Self::Unknown }
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Capabilities(caps, missing) => caps.remedy(missing),
            Self::UserNamespace => "run it outside of the user namespace (rootless containers are one)".to_owned(),
            Self::Lockdown(_) => {
                "boot with lockdown=integrity or without lockdown (it can only be raised while the machine runs)".to_owned()
            }
            Self::Seccomp => "allow bpf(2) and perf_event_open(2) (docker run --security-opt seccomp=unconfined)".to_owned(),
            Self::Unknown => "none on this machine: its kernel refuses this kind of program".to_owned(),
        }
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Capabilities(_, missing) => {
                for (at, cap) in missing.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{cap} is missing ({})", cap.serves())?;
                }
                Ok(())
            }
            Self::UserNamespace => f.write_str("this process is in a user namespace"),
            Self::Lockdown(level) => write!(f, "kernel lockdown is at {level}"),
            Self::Seccomp => f.write_str("a seccomp filter is in force"),
            Self::Unknown => f.write_str("no reason can be found"),
        }
    }
}

/// The level of kernel lockdown, where it is on (kernel_lockdown(7)).
pub(super) fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok().or_else(lockdown_unmounted)?;
    chosen(&text).filter(|level| *level != "none").map(str::to_owned)
}

/// `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(level, _)| level)
}

/// Where securityfs is not mounted.
fn lockdown_unmounted() -> Option<String> {
    let mount = Detached::mount(c"securityfs").ok()?;
    fs::read_to_string(mount.root().join("lockdown")).ok()
}

fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Why the kernel hides the addresses of its functions, and what to do about it (kallsyms_show_value(),
/// kernel/ksyms_common.c, 6.12 and 7.3, before in kernel/kallsyms.c, 5.10 and 6.1).
pub(super) fn hidden_symbols() -> (String, String) {
    let path = "/proc/sys/kernel/kptr_restrict";
    let restrict = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let caps = Caps::own();
    match restrict {
        Some(level @ 2..) => (
            format!(
                "the kernel hides addresses of its functions from everybody (kernel.kptr_restrict is {level})"
            ),
            "sysctl -w kernel.kptr_restrict=1".to_owned(),
        ),
        _ if !caps.has(Cap::Syslog) => (
            "the kernel hides addresses of its functions: CAP_SYSLOG is missing".to_owned(),
            caps.remedy(&[Cap::Syslog]),
        ),
        _ if caps::in_user_namespace() => (
            "the kernel hides addresses of its functions from this user namespace".to_owned(),
            Denial::UserNamespace.remedy(),
        ),
        _ => (
            "/proc/kallsyms shows no addresses".to_owned(),
            "mount proc at /proc, and sysctl -w kernel.kptr_restrict=1".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_lockdown_stands_in_brackets() {
        assert_eq!(chosen("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(chosen("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn what_is_missing_is_named_one_by_one_with_what_it_is_for() {
        let text = Denial::Capabilities(Caps::own(), vec![Cap::Bpf, Cap::Perfmon]).to_string();
        assert!(
            text.contains("CAP_BPF is missing (loading") && text.contains(", CAP_PERFMON is missing ("),
            "{text}"
        );
    }
}
