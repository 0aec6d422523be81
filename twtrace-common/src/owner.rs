//! Owns: what is remembered of a connection between its first FIN and its CLOSE, in the kernel side's map OWNERS.
//! Must not know: who fills it, who reads it.

use crate::Plain;
use crate::wire::{Task, Words};

/// Who sent the first FIN of a connection. 112 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who did it; all zero where not known.
    pub task: Task,
    /// Name of who opened it.
    pub opener_comm: Words,
    /// When the opener started, nanoseconds of CLOCK_BOOTTIME.
    pub opener_start_ns: u64,
    /// 0: the opener is not known.
    pub opener_pid: u32,
    /// One of [`crate::wire`]'s `VIA_*`.
    pub via: u8,
    /// One of [`crate::wire`]'s `ROLE_*`.
    pub role: u8,
    /// [`ENTERED`], [`BORN`].
    pub marks: u8,
    /// Zero.
    pub pad: u8,
    /// CLOCK_MONOTONIC when the connection was opened, in nanoseconds; 0: not known.
    pub since_ns: u64,
    /// Address of the `struct sock`, for backends whose birth hook does not get it; 0: not known.
    pub sk: u64,
}

/// [`Owner::marks`]: tcp_time_wait() was called.
pub const ENTERED: u8 = 1;
/// [`Owner::marks`]: its TIME_WAIT socket exists.
pub const BORN: u8 = 2;

// SAFETY: repr(C), integers only; the size asserted below leaves no room for implicit padding.
unsafe impl Plain for Owner {}

const _: () = assert!(size_of::<Owner>() == size_of::<Task>() + 16 + 8 + 4 + 4 + 8 + 8);
