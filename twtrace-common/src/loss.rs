//! Owns: the places where the kernel side can lose something, each a slot in one per-CPU array of u64.
//! Must not know: how a loss is shown.

/// Ring full when a `created` was to be sent.
pub const CREATED: u32 = 0;
/// Ring full when an `ended` was to be sent.
pub const ENDED: u32 = 1;
/// Ring full when an `overflow` was to be sent.
pub const OVERFLOW: u32 = 2;
/// Ring full when a `connect_failed` was to be sent.
pub const CONNECT_FAILED: u32 = 3;
/// Ring full when a `bind_failed` was to be sent.
pub const BIND_FAILED: u32 = 4;
/// There was no room among the closing sockets, or an older one had to leave: an event comes without its owner.
pub const OWNER: u32 = 5;
/// The map of live sockets that pass a process filter was full: an `ended` will be missing.
pub const LIVE: u32 = 6;
/// The stack could not be read: what was taken for a timer armed anew may have been an end (tracepoint backend).
pub const STACK: u32 = 7;
/// Ring full when an `aborted` was to be sent.
pub const ABORTED: u32 = 8;
/// Ring full when a `syn_refused` was to be sent.
pub const SYN_REFUSED: u32 = 9;
/// Number of slots.
pub const SLOTS: u32 = 10;
