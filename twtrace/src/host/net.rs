//! Owns: what the kernel itself says about a network namespace: which namespaces there are, the TCP sockets in one,
//! its counters and its sysctls.
//! Must not know: probes, events, processes, any output format.

pub mod books;
pub mod counters;
pub mod netns;
pub mod slabinfo;
pub mod sockdiag;
pub mod sysctls;

use std::io;
use std::path::PathBuf;

use crate::host::caps::{Cap, Caps};
use crate::model::escape::{self, printable};

/// Why the kernel could not be asked about a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace went away, or its path now leads to another one.
    #[error("network namespace {inode} is gone ({} no longer leads to it)", escape::path(path))]
    Gone {
        /// Inode of the namespace.
        inode: u32,
        /// The path that once led to it.
        path: PathBuf,
    },
    /// The namespace went away, and the next one has its inode.
    #[error("network namespace {inode} is gone: another one has its inode")]
    Replaced {
        /// That inode.
        inode: u32,
    },
    /// The kernel does not let this process enter the namespace.
    #[error(
        "no permission to enter network namespace {inode} through {} (CAP_SYS_ADMIN and CAP_SYS_PTRACE are needed)",
        escape::path(path)
    )]
    NoPermission {
        /// Inode of the namespace.
        inode: u32,
        /// The path that leads to it.
        path: PathBuf,
    },
    /// A `--netns` value that names no network namespace.
    #[error("--netns {}: {why}", printable(value))]
    Spec {
        /// The value as given.
        value: String,
        /// What is wrong with it, and the remedy.
        why: String,
    },
    /// The kernel refused something else.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's answer is not of the form it has on any kernel known.
    #[error("{what}: {why}; please report this with the output of `uname -r`")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Whether the same question may have an answer later.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    /// What would help.
    pub fn remedy(&self) -> String {
        match self {
            Self::Gone { .. } | Self::Replaced { .. } => "none: it went away".to_owned(),
            Self::NoPermission { .. } => {
                let caps = Caps::own();
                caps.remedy(&caps.missing(&[Cap::SysAdmin, Cap::SysPtrace]))
            }
            Self::Io { source, .. } if matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                "raise the limit of open files (ulimit -Hn)".to_owned()
            }
            // What starting a thread says.
            Self::Io { source, .. } if source.raw_os_error() == Some(libc::EAGAIN) => {
                "raise the limit of threads (ulimit -u; pids.max of the cgroup, which is TasksMax of a unit)"
                    .to_owned()
            }
            Self::Spec { .. } | Self::Io { .. } | Self::Malformed { .. } => "see `twtrace check`".to_owned(),
        }
    }

    /// For `map_err`: names what was tried.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn malformed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), why: why.into() }
    }
}
