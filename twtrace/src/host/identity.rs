//! Owns: finding out who a process is: its program, command line, cgroup and container, remembered after it is gone.
//! Must not know: sockets, events, any output format.

mod cache;
mod cgroup;
mod cmdline;
pub mod pids;
mod proc;

pub use cache::IdentityCache;
pub use cgroup::{is_any_cgroup, leaf_cgroup_id, limitations as cgroup_limitations, v2_hierarchy};
pub use proc::{cgroup_and_service, name_of, start_ns, status_field, status_number};
