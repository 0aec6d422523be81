//! The wire between the kernel side and the user side of twtrace.
//!
//! Owns: the records that travel through the ring buffer (`wire`), the frozen configuration that the loader hands
//! to the kernel side (`config`), the per-CPU counters of what was lost (`loss`), and how names are compared (`name`).
//! Must not know: aya, the kernel's structs (their offsets arrive in [`config::Config`]), any output format.
//!
//! Everything here is `#[repr(C)]`, integers only, with explicit zeroed padding, so that both sides agree byte for
//! byte and no uninitialised kernel stack can leak.
#![no_std]

pub mod config;
pub mod loss;
pub mod name;
pub mod wire;

/// Length of a task's name in the kernel, terminating NUL included (`TASK_COMM_LEN`, include/linux/sched.h, 5.10 to
/// 7.3).
pub const COMM_LEN: usize = 16;

/// Marks a type that may be viewed as bytes and built from any bytes.
///
/// # Safety
/// The type is `#[repr(C)]`, holds integers and arrays of integers only, and has no implicit padding.
pub unsafe trait Plain: Copy + 'static {}

/// The bytes of a plain value, in memory order.
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` promises that every byte of `T` is initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value that `bytes` spell, or `None` where the length is not exactly that of `T`.
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the length was checked, the read is unaligned, and `Plain` accepts any bytes.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
