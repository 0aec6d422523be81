//! Owns: what can be asked of the machine without tracing: sockets, namespaces, settings, processes, files.
//! Must not know: hooks, what is counted, what is shown.

pub mod buffers;
pub mod caps;
pub mod census;
pub mod demo;
pub mod descriptors;
pub mod detached;
pub mod files;
pub mod identity;
pub mod machine;
pub mod memory;
pub(crate) mod mountinfo;
pub mod net;
pub mod notify;
pub mod runtimes;
pub mod sandbox;
pub mod usage;
pub mod wire;
pub mod worker;
