//! Owns: which capabilities this process has, what each is needed for, and how a user gives it one.
//! Must not know: who asks.

use std::fmt;

use super::identity::status_field;

/// A capability that some part of twtrace needs (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cap {
    /// Loading programs.
    Bpf,
    /// Attaching programs that trace.
    Perfmon,
    /// Addresses of kernel functions.
    Syslog,
    /// Entering network namespaces; mounting tracefs.
    SysAdmin,
    /// Looking at other users' processes and their namespaces.
    SysPtrace,
    /// Reading tracefs, which is for its owner alone; what /proc shows of other users' processes to their users only.
    DacReadSearch,
    /// Making files in folders of the calling user.
    DacOverride,
    /// Giving them to that user.
    Chown,
    /// Removing them again.
    Fowner,
    /// Sending signals to a command that runs as that user.
    Kill,
}

impl Cap {
    /// All that tracing can need; the others are needed only by what one may ask for besides.
    pub const ALL: [Self; 6] =
        [Self::Bpf, Self::Perfmon, Self::Syslog, Self::SysAdmin, Self::SysPtrace, Self::DacReadSearch];

    /// Its name: `CAP_BPF`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bpf => "CAP_BPF",
            Self::Perfmon => "CAP_PERFMON",
            Self::Syslog => "CAP_SYSLOG",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::Chown => "CAP_CHOWN",
            Self::Fowner => "CAP_FOWNER",
            Self::Kill => "CAP_KILL",
        }
    }

    /// What is not possible without it.
    pub const fn serves(self) -> &'static str {
        match self {
            Self::Bpf => "loading BPF programs",
            Self::Perfmon => "tracing with BPF programs",
            Self::Syslog => {
                "addresses of kernel functions: why sockets end early, and the tracepoint backend"
            }
            Self::SysAdmin => {
                "looking into other network namespaces, and mounting tracefs where it is not mounted"
            }
            Self::SysPtrace => "finding the network namespaces and programs of other users' processes",
            Self::DacReadSearch => {
                "reading tracefs as another user than root, and command lines and descriptors of other users' processes"
            }
            Self::DacOverride => "recording into folders of the user who calls",
            Self::Chown => "giving recordings to the user who calls",
            Self::Fowner => "removing old parts of a recording in shared folders",
            Self::Kill => "signals to a command of the user who calls",
        }
    }

    /// Its number in include/uapi/linux/capability.h, 6.12.
    const fn bit(self) -> u32 {
        match self {
            Self::Chown => 0,
            Self::DacOverride => 1,
            Self::DacReadSearch => 2,
            Self::Fowner => 3,
            Self::Kill => 5,
            Self::SysPtrace => 19,
            Self::SysAdmin => 21,
            Self::Syslog => 34,
            Self::Perfmon => 38,
            Self::Bpf => 39,
        }
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The effective capabilities of a thread. Where /proc does not say, it is taken to have all: then the kernel decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    effective: u64,
    permitted: u64,
    uid: u32,
}

impl Caps {
    /// Those of the calling thread.
    pub fn own() -> Self {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        // SAFETY: no preconditions.
        let uid = unsafe { libc::geteuid() };
        let of = |name| set(&status, name).unwrap_or(u64::MAX);
        Self { effective: of("CapEff:"), permitted: of("CapPrm:"), uid }
    }

    /// Those that can be had, as bits.
    pub fn permitted(self) -> u64 {
        self.permitted
    }

    /// The effective user.
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Whether this one is there.
    pub fn has(self, cap: Cap) -> bool {
        // Before 5.8 CAP_SYS_ADMIN was both; it still stands in for them (bpf_capable(), perfmon_capable(),
        // include/linux/capability.h, 5.10 to 7.3).
        let stands_in = matches!(cap, Cap::Bpf | Cap::Perfmon) && self.bit(Cap::SysAdmin);
        stands_in || self.bit(cap)
    }

    fn bit(self, cap: Cap) -> bool {
        self.effective >> cap.bit() & 1 == 1
    }

    /// Those of `wanted` that are not there.
    pub fn missing(self, wanted: &[Cap]) -> Vec<Cap> {
        wanted.iter().copied().filter(|cap| !self.has(*cap)).collect()
    }

    /// How a user gives this process `missing`: never "run as root" to root.
    pub fn remedy(self, missing: &[Cap]) -> String {
        if missing.is_empty() {
            return "run it on the machine itself, outside of user namespaces and sandboxes".to_owned();
        }
        if self.uid != 0 {
            return format!("run it with sudo, or give it {}", list(missing));
        }
        let flags: Vec<String> = missing
            .iter()
            .map(|cap| format!("--cap-add {}", cap.name().trim_start_matches("CAP_")))
            .collect();
        format!("give it {} (docker run {})", list(missing), flags.join(" "))
    }
}

/// `CAP_BPF, CAP_PERFMON`.
pub fn list(caps: &[Cap]) -> String {
    caps.iter().map(|cap| cap.name()).collect::<Vec<_>>().join(", ")
}

/// Whether this process lives in a user namespace of its own, whose capabilities mean nothing to the kernel as a whole.
pub fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps_everything(&map))
}

fn maps_everything(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// These as bits.
pub fn mask(caps: &[Cap]) -> u64 {
    caps.iter().fold(0, |mask, cap| mask | 1 << cap.bit())
}

/// A set of capabilities in `/proc/PID/status`, such as `CapPrm:`, as bits.
pub(super) fn set(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(status_field(status, name)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(status: &str, uid: u32) -> Caps {
        let effective = set(status, "CapEff:").unwrap();
        Caps { effective, permitted: effective, uid }
    }

    #[test]
    fn capabilities_are_told_one_by_one() {
        let some = caps("Name:\tx\nCapEff:\t000000c000000000\n", 1000);
        assert!(some.has(Cap::Bpf) && some.has(Cap::Perfmon));
        assert_eq!(some.missing(&Cap::ALL), [Cap::Syslog, Cap::SysAdmin, Cap::SysPtrace, Cap::DacReadSearch]);
        let admin = caps("CapEff:\t0000000000200000\n", 0);
        assert_eq!(admin.missing(&[Cap::Bpf, Cap::Perfmon, Cap::Syslog]), [Cap::Syslog]);
    }

    #[test]
    fn root_is_not_told_to_be_root() {
        let none = caps("CapEff:\t0000000000000000\n", 0);
        let remedy = none.remedy(&[Cap::Bpf, Cap::Syslog]);
        assert_eq!(remedy, "give it CAP_BPF, CAP_SYSLOG (docker run --cap-add BPF --cap-add SYSLOG)");
        assert!(Caps { uid: 7, ..none }.remedy(&[Cap::Bpf]).starts_with("run it with sudo"));
    }

    #[test]
    fn only_the_first_user_namespace_maps_everything() {
        assert!(maps_everything("         0          0 4294967295\n"));
        assert!(!maps_everything("         0       1000          1\n"));
        assert!(!maps_everything(""));
    }
}
