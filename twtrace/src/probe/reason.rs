//! Owns: why a backend cannot be used, typed, each with a remedy that a user can follow.
//! Must not know: how it was found out.

use super::Backend;
use crate::btf::{BtfError, ResolveError};

/// Why twtrace cannot trace on this machine at all.
#[derive(Debug, thiserror::Error)]
pub enum Cannot {
    /// Not enough privilege.
    #[error(
        "loading BPF programs needs root, or CAP_BPF with CAP_PERFMON and CAP_NET_ADMIN; this process has uid {uid}"
    )]
    Privilege {
        /// Effective uid.
        uid: u32,
    },
    /// No type information.
    #[error("the kernel's types cannot be read: {0}")]
    Btf(#[from] BtfError),
    /// The loader cannot read the kernel's types.
    #[error("the kernel's types cannot be read: {0}")]
    Types(String),
    /// The kernel lacks something twtrace reads.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// CONFIG_HZ cannot be found out.
    #[error("the kernel's tick length cannot be found out (clock_getres(CLOCK_MONOTONIC_COARSE) failed)")]
    Hz,
    /// No backend works.
    #[error("no backend works here: {}", list(.0))]
    NoBackend(Vec<Fallback>),
}

fn list(fallbacks: &[Fallback]) -> String {
    fallbacks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Cannot {
    /// What to do about it, in one line.
    pub fn remedy(&self) -> String {
        match self {
            Self::Privilege { .. } => "run it with sudo".to_owned(),
            Self::Btf(_) | Self::Types(_) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (the distributions' are, since about 2021), 5.8 or later"
                    .to_owned()
            }
            Self::Resolve(_) => "report the kernel's version, this needs a newer twtrace".to_owned(),
            Self::Hz => "mount /proc and allow clock_getres".to_owned(),
            Self::NoBackend(fallbacks) => {
                fallbacks.last().map_or_else(|| "try --backend auto".to_owned(), |fallback| fallback.why.remedy().to_owned())
            }
        }
    }
}

/// A backend, or a part of one, that does not work here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Which backend.
    pub backend: Backend,
    /// What was hooked; empty for the backend as a whole.
    pub hook: &'static str,
    /// What is not known without it; `None`: the backend cannot be used.
    pub without: Option<&'static str>,
    /// Why.
    pub why: Why,
}

impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.backend)?;
        if !self.hook.is_empty() {
            write!(f, " ({})", self.hook)?;
        }
        write!(f, ": {}", self.why)?;
        if let Some(without) = self.without {
            write!(f, "; without {without}")?;
        }
        Ok(())
    }
}

/// Why a hook does not work here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The kernel said EPERM or EACCES.
    #[error("the kernel does not permit it ({0})")]
    NotPermitted(String),
    /// The function or tracepoint is not in this kernel.
    #[error("this kernel has no such function or tracepoint")]
    NoTarget,
    /// The kernel was built without this kind of program.
    #[error("the kernel was built without it ({0})")]
    NotBuiltIn(String),
    /// The verifier refused the program.
    #[error("the kernel's verifier refuses the program: {0}")]
    Verifier(String),
    /// Addresses of kernel functions are needed and hidden.
    #[error("{0}")]
    Symbols(String),
    /// The object cannot be created.
    #[error("the BPF object cannot be created: {0}")]
    Object(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Why {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotPermitted(_) => {
                "run as root outside of containers; check kernel lockdown (/sys/kernel/security/lockdown) and seccomp"
            }
            Self::NoTarget => "another backend may have it: --backend auto",
            Self::NotBuiltIn(_) => {
                "a kernel with CONFIG_KPROBES, CONFIG_BPF_EVENTS and CONFIG_FTRACE_SYSCALLS offers every backend"
            }
            Self::Verifier(_) => {
                "report it with the output of `twtrace check --verbose`; another backend may work"
            }
            Self::Symbols(_) => "sysctl kernel.kptr_restrict=1 or lower, and run as root",
            Self::Object(_) => {
                "raise the locked-memory limit (ulimit -l unlimited), or use a smaller --ring-size"
            }
            Self::Other(_) => "run `twtrace check`; another backend may work",
        }
    }
}
