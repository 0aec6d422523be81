//! Owns: the two ways to read a kernel struct at an offset that is known only at load.
//! Must not know: which struct it is.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// A way to load a `T` at `base + offset`.
pub(crate) trait Mem {
    /// The value, or zero where the memory cannot be read.
    ///
    /// # Safety
    /// `base` is what the hook handed over, and `offset` comes from the running kernel's BTF.
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T;
}

/// Direct loads: the verifier knows the argument's type from BTF and makes the load itself fault-safe
/// (PROBE_MEM). For the typed arguments of fentry, fexit and tp_btf programs, inside that type's size.
pub(crate) struct Typed;

/// `bpf_probe_read_kernel`: for every other address.
pub(crate) struct Probed;

impl Mem for Typed {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: by the caller; a fault reads as zero. Volatile keeps the load as it is written, which is what the
        // verifier checks against BTF.
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }
}

impl Mem for Probed {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: by the caller; the helper has written all of the value.
        unsafe {
            Self::load_into(base, offset, value.as_mut_ptr());
            value.assume_init()
        }
    }
}

impl Probed {
    /// Loads a `T` to where it is wanted: what is larger than a register is not copied twice.
    ///
    /// # Safety
    /// `into` can be written. `base` and `offset` as for [`Mem::load`].
    #[inline(always)]
    pub(crate) unsafe fn load_into<T: Copy>(base: *const u8, offset: u32, into: *mut T) {
        let from = base.wrapping_add(offset as usize);
        // SAFETY: the destination has the size of `T`; on a fault the helper fills it with zeroes.
        unsafe { bpf_probe_read_kernel(into.cast(), size_of::<T>() as u32, from.cast()) };
    }
}
