//! Owns: giving up what a trace no longer needs once its hooks are attached: capabilities, new privileges, system calls, on every thread.
//! Must not know: hooks, what a view does.
//!
//! Landlock is not among it. A process in a Landlock domain may look at no process outside of it
//! (hook_ptrace_access_check(), security/landlock/task.c, 6.12 and 7.3), and the programs and network namespaces of
//! other processes are what twtrace tells. Where files are concerned the filter of system calls stands in for it: what
//! is not to be written cannot be opened for writing.

mod calls;
mod filter;
mod threads;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::caps::{self, Cap, Caps};
use crate::model::limitation::{Limitation, What};

/// What is still to be done, beyond what every trace does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Other network namespaces than the own one are entered.
    pub namespaces: bool,
    /// Files are made and removed.
    pub files: bool,
    /// Connections are taken, and made.
    pub network: bool,
    /// Others on this machine are asked at their sockets.
    pub unix: bool,
    /// A process that is sent signals.
    pub command: Option<u32>,
    /// Capabilities for all that.
    pub caps: Vec<Cap>,
}

impl Needs {
    /// Capabilities that are kept, as far as they are there. Without `reads_maps` the kernel lets nobody read maps who has not CAP_BPF.
    fn kept(&self, reads_maps: bool) -> Vec<Cap> {
        // Programs, command lines and descriptors of other users' processes.
        let mut kept = vec![Cap::SysPtrace, Cap::DacReadSearch];
        kept.extend(self.namespaces.then_some(Cap::SysAdmin));
        kept.extend((!reads_maps).then_some(Cap::Bpf));
        kept.extend(&self.caps);
        kept
    }
}

/// A part of the sandbox that cannot be had here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Some threads could not be told to give up their capabilities.
    #[error("threads of twtrace keep their capabilities: {0}")]
    Threads(String),
    /// The kernel does not give up capabilities.
    #[error("capabilities cannot be given up: {0}")]
    Capabilities(String),
    /// No filter of system calls.
    #[error("system calls cannot be filtered: {0}")]
    Seccomp(String),
}

impl Lack {
    /// What would help.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Threads(_) => "none: it hangs in the kernel",
            Self::Capabilities(_) => "mount proc at /proc; report it with `uname -r`",
            Self::Seccomp(_) => {
                "a kernel with CONFIG_SECCOMP_FILTER; in a container, --security-opt seccomp=unconfined"
            }
        }
    }
}

impl From<Lack> for Limitation {
    fn from(lack: Lack) -> Self {
        Self::new(What::Sandbox, lack.to_string(), lack.remedy())
    }
}

static IS_ON: AtomicBool = AtomicBool::new(false);

/// Whether power was given up: what the kernel refuses from then on, it may refuse for that.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Gives up what is not needed, for good and on every thread. `reads_maps` tries whether the trace can go on; it is called on a thread that
/// has no CAP_BPF. Says what could not be had.
pub fn enter(needs: &Needs, reads_maps: impl FnOnce() -> bool + Send) -> Vec<Lack> {
    IS_ON.store(true, Ordering::Relaxed);
    let mask = caps::mask(&needs.kept(without_bpf(needs, reads_maps))) & Caps::own().permitted();
    let mut lacks: Vec<Lack> = threads::give_up(mask).err().into_iter().collect();
    lacks.extend(filter::apply(needs, filter::Scope::AllThreads).err());
    lacks
}

/// Tries, on a thread of its own that ends with it. Where nothing can be tried, CAP_BPF stays.
fn without_bpf(needs: &Needs, reads_maps: impl FnOnce() -> bool + Send) -> bool {
    let attempt = || {
        let mask = caps::mask(&needs.kept(true)) & Caps::own().permitted();
        threads::give_up_here(mask).is_ok() && reads_maps()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sandbox".into()).spawn_scoped(scope, attempt);
        thread.is_ok_and(|thread| thread.join().unwrap_or(false))
    })
}

/// What the sandbox of a trace is on this machine.
#[derive(Debug)]
pub struct Sandbox {
    /// Capabilities that are here and that a trace of all network namespaces keeps; one that was not asked for here is CAP_BPF, which is
    /// kept where the kernel wants it for reading maps.
    pub kept: Vec<Cap>,
    /// What cannot be had.
    pub lacks: Vec<Lack>,
}

/// Tries it on a thread that ends with it.
///
/// # Errors
/// If no thread can be started.
pub fn survey() -> io::Result<Sandbox> {
    let needs = Needs { namespaces: true, ..Needs::default() };
    let own = Caps::own();
    let kept: Vec<Cap> =
        needs.kept(true).into_iter().filter(|cap| own.permitted() & caps::mask(&[*cap]) != 0).collect();
    let mask = caps::mask(&kept);
    let attempt = move || {
        let given_up = threads::give_up_here(mask).err().map(|error| Lack::Capabilities(error.to_string()));
        let filtered = filter::apply(&needs, filter::Scope::ThisThread).err();
        given_up.into_iter().chain(filtered).collect()
    };
    let thread = std::thread::Builder::new().name("sandbox".into()).spawn(attempt)?;
    let lacks = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok(Sandbox { kept, lacks })
}
