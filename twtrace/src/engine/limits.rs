//! Owns: how much may be told apart.
//! Must not know: what happens when there is more.

/// What comes after that goes into rows of others, which say so; sums stay exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Combinations of a process, its peer and its port.
    pub groups: usize,
    /// Rows of all tables together.
    pub rows: usize,
    /// Names, programs, cgroups, containers.
    pub texts: usize,
    /// Addresses.
    pub addresses: usize,
    /// Live TIME_WAIT sockets that are followed.
    pub sockets: usize,
}

impl Default for Limits {
    /// Of what goes on for ever.
    fn default() -> Self {
        Self { groups: 1 << 15, rows: 1 << 17, texts: 1 << 16, addresses: 1 << 16, sockets: 1 << 20 }
    }
}

impl Limits {
    /// Of a recording, which ends. A group takes about a kilobyte.
    pub(crate) const RECORDING: Self =
        Self { groups: 1 << 16, rows: 1 << 19, texts: 1 << 18, addresses: 1 << 17, sockets: 0 };
}
