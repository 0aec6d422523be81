//! Owns: the ways to read a kernel struct at an offset that is known only at load.
//! Must not know: which struct it is.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use twtrace_common::Plain;

/// A way to load a `T` at `base + offset`.
pub(crate) trait Mem {
    /// The value, or zero where the memory cannot be read.
    ///
    /// # Safety
    /// `base` is what the hook handed over, and `offset` comes from the running kernel's BTF.
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T;

    /// The same for what is larger than a register.
    ///
    /// # Safety
    /// As [`Mem::load`].
    #[inline(always)]
    unsafe fn wide<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: by the caller.
        unsafe { Self::load(base, offset) }
    }

    /// The same behind a pointer that was loaded.
    ///
    /// # Safety
    /// As [`Mem::load`]; `pointer` was loaded this way.
    #[inline(always)]
    unsafe fn behind<T: Copy>(pointer: *const u8, offset: u32) -> T {
        // SAFETY: by the caller.
        unsafe { Self::load(pointer, offset) }
    }
}

/// Direct loads: the verifier knows the argument's type from BTF and makes the load itself fault-safe
/// (PROBE_MEM). For the typed arguments of fentry, fexit and tp_btf programs, inside that type's size.
pub(crate) struct Typed;

/// `bpf_probe_read_kernel`: for every other address.
pub(crate) struct Probed;

/// From a [`Start`], a copy of the beginning of a struct: one call of the helper for all fields, a call for two costs as much.
pub(crate) struct Copied;

/// Copies a record word by word. An assignment of more than two words can become a call of a function that copies single bytes,
/// at nine instructions each.
#[inline(always)]
pub(crate) fn copy<T: Plain>(to: &mut T, from: &T) {
    const { assert!(align_of::<T>() == size_of::<u64>()) };
    let (to, from) = (core::ptr::from_mut(to).cast::<u64>(), core::ptr::from_ref(from).cast::<u64>());
    let mut word = 0;
    while word < size_of::<T>() / size_of::<u64>() {
        // SAFETY: inside both, which are plain; volatile, or the compiler makes the same call of it.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
        word += 1;
    }
}

/// Sets a word, apart from its neighbours: two that are zero can become such a call as well.
#[inline(always)]
pub(crate) fn put(to: &mut u64, value: u64) {
    // SAFETY: a reference.
    unsafe { core::ptr::from_mut(to).write_volatile(value) };
}

/// Sets all words of a record to zero, for the same reason.
#[inline(always)]
pub(crate) fn clear<T: Plain>(to: &mut T) {
    const { assert!(align_of::<T>() == size_of::<u64>()) };
    let to = core::ptr::from_mut(to).cast::<u64>();
    let mut word = 0;
    while word < size_of::<T>() / size_of::<u64>() {
        // SAFETY: inside it, and zeroes are plain.
        unsafe { to.add(word).write_volatile(0) };
        word += 1;
    }
}

/// What comes before is seen by other CPUs before what comes behind, as x86 does by itself.
#[cfg(not(feature = "aarch64"))]
#[inline(always)]
pub(crate) fn in_order() {}

/// What comes before is seen by other CPUs before what comes behind, loads and stores alike. BPF has no barrier; an
/// addition that hands back what was there is one: `ldaddal`, or `dmb ish` behind it (emit_lse_atomic(),
/// emit_ll_sc_atomic(), arch/arm64/net/bpf_jit_comp.c, 6.1 to 7.3; since 5.18, before, the kernel refuses it).
#[cfg(feature = "aarch64")]
#[inline(always)]
pub(crate) fn in_order() {
    let mut own = 0_u64;
    // SAFETY: a word of our own stack.
    unsafe {
        core::arch::asm!(
            "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
            word = in(reg) &raw mut own,
            value = inout(reg) 0_u64 => _,
        )
    };
}

/// The same value, but the compiler does not know it any more.
#[inline(always)]
pub(crate) fn opaque(mut value: u64) -> u64 {
    // SAFETY: a copy to itself (with none at all two lines would share one place, which the verifier refuses).
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags))
    };
    value
}

/// Words in a [`Start`]: all that is read of a `sock_common` and of an `inet_timewait_sock`, its timer left out.
const START: usize = 19;

/// The beginning of a kernel struct, on the program's stack.
pub(crate) struct Start([u64; START]);

impl Start {
    /// Copies it; zeroes where it cannot be read.
    ///
    /// # Safety
    /// `from` is a kernel address.
    #[inline(always)]
    pub(crate) unsafe fn of(from: *const u8) -> Self {
        // SAFETY: by the caller.
        Self(unsafe { Probed::load(from, 0) })
    }

    /// For [`Copied`].
    #[inline(always)]
    pub(crate) fn base(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

#[inline(always)]
unsafe fn direct<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: by the caller; a fault reads as zero. Volatile keeps the load as it is written, which is what the verifier
    // checks.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

impl Mem for Typed {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: by the caller.
        unsafe { direct(base, offset) }
    }

    #[inline(always)]
    unsafe fn wide<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: by the caller. Addresses are unions, which not every verifier lets a program load from directly.
        unsafe { Probed::load(base, offset) }
    }
}

impl Mem for Copied {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: by the caller; the verifier refuses what lies outside.
        unsafe { direct(base, offset) }
    }

    #[inline(always)]
    unsafe fn behind<T: Copy>(pointer: *const u8, offset: u32) -> T {
        // SAFETY: by the caller.
        unsafe { Probed::load(pointer, offset) }
    }
}

impl Mem for Probed {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        let from = base.wrapping_add(offset as usize);
        // SAFETY: by the caller; the destination has the size of `T`, and the helper has written all of it, with zeroes on a
        // fault.
        unsafe {
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast());
            value.assume_init()
        }
    }
}
