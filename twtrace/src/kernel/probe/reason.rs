//! Owns: why a backend cannot be used, typed, each with a remedy that a user can follow.
//! Must not know: how it was found out.

use super::Backend;
use super::environment::Denial;
use crate::kernel::btf::{BtfError, ResolveError};
use crate::model::limitation::{Limitation, What};

/// Why twtrace cannot trace on this machine at all.
#[derive(Debug, thiserror::Error)]
pub enum Cannot {
    /// Not enough privilege.
    #[error("this process may not load BPF programs (uid {uid}): {denial}")]
    Privilege {
        /// Effective uid.
        uid: u32,
        /// What is in the way.
        denial: Denial,
    },
    /// Not enough descriptors.
    #[error("too many open files: this process may have {limit}, and a trace needs some {}", FILES)]
    Files {
        /// The limit.
        limit: u64,
    },
    /// No type information.
    #[error("the kernel's types cannot be read: {0}")]
    Btf(#[from] BtfError),
    /// The kernel lacks something twtrace reads.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// CONFIG_HZ cannot be found out.
    #[error("the kernel's tick length cannot be found out (clock_getres(CLOCK_MONOTONIC_COARSE) failed)")]
    Hz,
    /// A filter on pids that are not the machine's.
    #[error("{flag} cannot be used here: this is not the machine's PID namespace, whose pids events have")]
    Pids {
        /// The flag that asks for it.
        flag: &'static str,
    },
    /// No backend works.
    #[error("no backend works here: {}", list(.0))]
    NoBackend(Vec<Fallback>),
}

/// Descriptors that a trace needs, with room to spare.
const FILES: u64 = 128;

fn list(fallbacks: &[Fallback]) -> String {
    fallbacks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Cannot {
    /// What to do about it, in one line.
    pub fn remedy(&self) -> String {
        match self {
            Self::Privilege { denial, .. } => denial.remedy(),
            Self::Files { .. } => files_remedy(),
            Self::Btf(_) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (the distributions' are, since about 2021), 5.8 or later, with /sys mounted; `twtrace list` needs neither"
                    .to_owned()
            }
            Self::Resolve(_) => "report the kernel's version, this needs a newer twtrace; `twtrace list` works meanwhile".to_owned(),
            Self::Hz => "allow clock_getres(2) (seccomp)".to_owned(),
            Self::Pids { flag } => {
                let [comm, cgroup] = ["comm", "cgroup"].map(|word| flag.replace("pid", word));
                format!("{}, or filter with {comm} or {cgroup}", crate::host::identity::pids::remedy())
            }
            Self::NoBackend(fallbacks) => of_all(fallbacks),
        }
    }
}

/// Of all backends that were tried, the remedy that a user can do most about.
fn of_all(fallbacks: &[Fallback]) -> String {
    let best = fallbacks.iter().min_by_key(|fallback| fallback.why.rank());
    let remedy = best.map_or_else(String::new, |fallback| fallback.why.remedy());
    match fallbacks {
        // Only the one that was asked for.
        [only] if !matches!(only.why, Why::Files(_)) => {
            format!("{remedy}; or let --backend auto choose another one")
        }
        _ => remedy,
    }
}

fn files_remedy() -> String {
    format!(
        "raise the limit of open files: ulimit -Hn {FILES} as root, or LimitNOFILE={FILES} in a systemd unit"
    )
}

/// A backend, or a part of one, that does not work here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Which backend.
    pub backend: Backend,
    /// What was hooked; empty for the backend as a whole.
    pub hook: &'static str,
    /// What is not known without it; `None`: the backend cannot be used.
    pub without: Option<What>,
    /// Why.
    pub why: Why,
}

/// What a trace cannot see because of these; hooks that are missing for the same reason are told together.
pub fn limitations<'a>(fallbacks: impl IntoIterator<Item = &'a Fallback>) -> Vec<Limitation> {
    let mut groups: Vec<(What, &Why, Vec<&str>)> = Vec::new();
    for fallback in fallbacks {
        let Some(what) = fallback.without else { continue };
        match groups.iter_mut().find(|(known, why, _)| (*known, *why) == (what, &fallback.why)) {
            Some((_, _, hooks)) => hooks.push(fallback.hook),
            None => groups.push((what, &fallback.why, vec![fallback.hook])),
        }
    }
    let limitation = |(what, why, hooks): (What, &Why, Vec<&str>)| {
        Limitation::new(what, format!("{}: {why}", hooks.join(", ")), why.remedy())
    };
    groups.into_iter().map(limitation).collect()
}

impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.backend)?;
        if !self.hook.is_empty() {
            write!(f, " ({})", self.hook)?;
        }
        write!(f, ": {}", self.why)?;
        if let Some(without) = self.without {
            write!(f, "; without {}", without.words())?;
        }
        Ok(())
    }
}

/// Why a hook does not work here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The kernel said EPERM or EACCES, and what is in the way.
    #[error("the kernel does not permit it ({0}): {1}")]
    NotPermitted(String, Denial),
    /// The function or tracepoint is not in this kernel.
    #[error("this kernel has no such function or tracepoint")]
    NoTarget,
    /// The kernel was built without this kind of program.
    #[error("the kernel was built without it ({0})")]
    NotBuiltIn(String),
    /// The kernel cannot attach such a program on this architecture.
    #[error("this kernel cannot do it on this architecture (ENOTSUPP)")]
    NotSupported,
    /// The verifier refused the program.
    #[error("the kernel's verifier refuses the program: {0}")]
    Verifier(String),
    /// Kernel lockdown takes away what programs read kernel memory with.
    #[error("BPF programs may not read kernel memory: kernel lockdown is at {0}")]
    Lockdown(String),
    /// Addresses of kernel functions are needed and hidden: why, and the remedy.
    #[error("{0}")]
    Symbols(String, String),
    /// The hook's number is in tracefs, which is not to be had.
    #[error("tracefs is not mounted, and cannot be mounted for twtrace alone ({0})")]
    Tracefs(String),
    /// It is a hook on system calls as 64-bit programs make them.
    #[error("it sees system calls, which io_uring does without and 32-bit programs make in another way")]
    OnlyCalls,
    /// Only the exit of a function tells, with its arguments.
    #[error("only fentry sees it")]
    OnlyFentry,
    /// The user wants no hook on a system call.
    #[error("--no-syscalls: nothing is attached to system calls")]
    NotAsked,
    /// Too few descriptors; the limit.
    #[error("too many open files: this process may have {0}")]
    Files(u64),
    /// The object cannot be created.
    #[error("the BPF object cannot be created: {0}")]
    Object(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Why {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotPermitted(_, denial) => denial.remedy(),
            Self::NoTarget => "none on this kernel; `twtrace list` needs no hooks".to_owned(),
            Self::NotBuiltIn(_) => {
                "a kernel with CONFIG_KPROBES, CONFIG_BPF_EVENTS and CONFIG_FTRACE_SYSCALLS has every hook"
                    .to_owned()
            }
            Self::NotSupported => "a newer kernel: arm64 can do it since Linux 6.4".to_owned(),
            Self::Verifier(_) => "report it with the output of `twtrace check` and `uname -r`".to_owned(),
            Self::Lockdown(level) => Denial::Lockdown(level.clone()).remedy(),
            Self::Symbols(_, remedy) => remedy.clone(),
            Self::Tracefs(_) => {
                "as root: mount -t tracefs tracefs /sys/kernel/tracing (or give it CAP_SYS_ADMIN)".to_owned()
            }
            Self::OnlyFentry => "a kernel that permits fentry".to_owned(),
            Self::NotAsked => {
                "trace without --no-syscalls, at some 10 ns a system call of every process".to_owned()
            }
            Self::OnlyCalls => "a kernel that permits fentry or kprobes".to_owned(),
            Self::Files(_) => files_remedy(),
            Self::Object(_) => {
                "raise the locked-memory limit (ulimit -l unlimited), or use a smaller --ring-size".to_owned()
            }
            Self::Other(_) => "report it with the output of `twtrace check` and `uname -r`".to_owned(),
        }
    }

    /// What a user can do more about comes first.
    fn rank(&self) -> u8 {
        match self {
            Self::Files(_) => 0,
            Self::Lockdown(_) => 1,
            Self::Symbols(..) => 2,
            Self::Tracefs(_) => 3,
            Self::NotPermitted(_, Denial::Unknown) => 6,
            Self::NotPermitted(..) => 4,
            Self::Object(_) => 5,
            Self::NotBuiltIn(_) | Self::NotSupported => 7,
            Self::NoTarget | Self::OnlyCalls | Self::OnlyFentry | Self::NotAsked => 8,
            Self::Verifier(_) | Self::Other(_) => 9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(backend: Backend, why: Why) -> Fallback {
        Fallback { backend, hook: "", without: None, why }
    }

    #[test]
    fn remedies_are_never_circular() {
        let tried = vec![
            whole(Backend::Fentry, Why::NotPermitted("EPERM".into(), Denial::Unknown)),
            whole(
                Backend::Tracepoint,
                Why::Symbols("hidden".into(), "sysctl -w kernel.kptr_restrict=1".into()),
            ),
            whole(Backend::Kprobe, Why::NoTarget),
        ];
        let auto = Cannot::NoBackend(tried.clone()).remedy();
        assert_eq!(auto, "sysctl -w kernel.kptr_restrict=1");
        let one = Cannot::NoBackend(tried[2..].to_vec()).remedy();
        assert!(one.ends_with("--backend auto choose another one"), "{one}");
        let few = Cannot::NoBackend(vec![whole(Backend::Fentry, Why::Files(32))]).remedy();
        assert!(few.contains("ulimit") && !few.contains("--backend"), "{few}");
    }

    #[test]
    fn only_missing_hooks_are_limitations_and_those_of_one_reason_are_one() {
        let whole = whole(Backend::Fentry, Why::NoTarget);
        let missing = |hook, without, why| Fallback { hook, without: Some(without), why, ..whole.clone() };
        let tracefs = || Why::Tracefs("EPERM".into());
        let all = [
            missing("sys_enter_bind", What::BindFailed, tracefs()),
            missing("sys_exit_bind", What::BindFailed, tracefs()),
            missing("sys_exit_accept", What::Openers, Why::NoTarget),
            whole.clone(),
        ];
        let told = limitations(&all);
        assert_eq!(told.iter().map(|one| one.what).collect::<Vec<_>>(), [What::BindFailed, What::Openers]);
        assert!(told[0].why.starts_with("sys_enter_bind, sys_exit_bind: tracefs"), "{}", told[0]);
    }
}
