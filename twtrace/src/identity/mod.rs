//! Owns: who a process is: its program, command line, cgroup and container, remembered after it is gone.
//! Must not know: sockets, events, any output format.

mod cache;
mod cgroup;
mod cmdline;
mod container;
pub mod pids;
mod proc;

pub use cache::IdentityCache;
pub use cgroup::{leaf_cgroup_id, v2_hierarchy};
pub use cmdline::Cmdline;
pub use container::{Container, Runtime, container_of};
pub use proc::start_ns;

/// What can be said of a process beyond what the kernel side carries. What is not known for certain is `None`. All
/// texts are the process's own and hostile until escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Path of its program as the process itself would name it (a container's path inside the container), less the
    /// kernel's ` (deleted)`: a program that was replaced by an upgrade is still the same program.
    pub exe: Option<String>,
    /// Its arguments, joined by spaces as `ps` does, cut at 4 KiB. May hold secrets. Read a moment later than the rest, or never.
    pub cmdline: Cmdline,
    /// Path of its cgroup: in the v2 hierarchy, or in a v1 hierarchy where it is in the root of v2.
    pub cgroup: Option<String>,
    /// The container that its cgroup belongs to.
    pub container: Option<Container>,
}
