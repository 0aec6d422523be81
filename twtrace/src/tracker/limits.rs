//! Owns: how large a world may get.
//! Must not know: what happens when it is.

/// How many rows of each kind there may be, and how many live sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes.
    pub processes: usize,
    /// Pools of ports.
    pub tuples: usize,
    /// Remote addresses.
    pub peers: usize,
    /// Served ports.
    pub ports: usize,
    /// Containers.
    pub containers: usize,
    /// Network namespaces.
    pub netns: usize,
    /// Pairs of a process and what it deals with, those without live sockets.
    pub links: usize,
    /// Live TIME_WAIT sockets.
    pub sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 16_384,
            tuples: 16_384,
            peers: 16_384,
            ports: 4096,
            containers: 4096,
            netns: 16_384,
            links: 32_768,
            sockets: 1 << 20,
        }
    }
}
