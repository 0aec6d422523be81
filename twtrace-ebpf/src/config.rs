//! Owns: the frozen configuration global and the only way to read it.
//! Must not know: who filled it.
//!
//! The loader writes [`CONFIG`] before the object is loaded and freezes its map, so the verifier takes every value
//! for a constant: branches on it are pruned and offsets become immediate.

use twtrace_common::config::Config;

/// Written by the loader under this name.
#[unsafe(no_mangle)]
// SAFETY: `Config` is `Plain`: any bytes are valid, zeroes included.
pub(crate) static CONFIG: Config = unsafe { core::mem::zeroed() };

/// Reads one field of the configuration: `setting!(offsets.skc_num)`.
macro_rules! setting {
    ($($field:tt)+) => { $crate::config::read(&$crate::config::CONFIG.$($field)+) };
}
pub(crate) use setting;

/// Volatile, because the compiler would otherwise use the zeroes that it sees in the source instead of what the loader
/// wrote.
#[inline(always)]
pub(crate) fn read<T: Copy>(field: &T) -> T {
    // SAFETY: a reference is valid and aligned.
    unsafe { core::ptr::from_ref(field).read_volatile() }
}
