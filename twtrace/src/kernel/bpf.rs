//! Owns: bpf(2) called by hand, for what aya has no way to ask.
//! Must not know: what for.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Calls bpf(2), and says what it returned. The kernel may answer in the attributes.
///
/// # Errors
/// What the kernel has against it.
///
/// # Safety
/// The attributes must be those of the command (include/uapi/linux/bpf.h), and what they point to as long as they say and alive until this returns.
pub(super) unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are as long as said, and ours alone; of the rest the caller is sure.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as libc::c_int) }
}

/// As [`call`], of a command that makes a descriptor.
///
/// # Errors
/// What the kernel has against it.
///
/// # Safety
/// As [`call`].
pub(super) unsafe fn open<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says; the kernel has just made this descriptor for us.
    unsafe { call(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// A program that only returns: `BPF_MOV64_IMM(BPF_REG_0, 0)`, `BPF_EXIT_INSN()` (include/linux/filter.h, 5.10 to 7.3), as they lie in memory.
pub(super) const RETURN: [u64; 2] = [0xb7, 0x95];

/// Loads a program of this type (`BPF_PROG_TYPE_*`) with these flags, of instructions as they lie in memory.
///
/// # Errors
/// What the kernel has against it.
pub(super) fn load(kind: u32, code: &[u64], flags: u32) -> io::Result<OwnedFd> {
    Load { kind, flags, ..Load::default() }.of(code)
}

/// Loads a program for the entry of the kernel's function that has this id in its BTF.
///
/// # Errors
/// What the kernel has against it.
pub(super) fn load_for_entry(function: u32, code: &[u64]) -> io::Result<OwnedFd> {
    const BPF_PROG_TYPE_TRACING: u32 = 26;
    const BPF_TRACE_FENTRY: u32 = 24;
    let attach_type = BPF_TRACE_FENTRY;
    Load { kind: BPF_PROG_TYPE_TRACING, attach_type, attach_btf_id: function, ..Load::default() }.of(code)
}

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD (include/uapi/linux/bpf.h, 5.10 to 7.3).
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 2],
    version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    /// Its types, and of which function and line an instruction is.
    about: [u64; 4],
    lines: u32,
    attach_btf_id: u32,
}

impl Load {
    fn of(mut self, code: &[u64]) -> io::Result<OwnedFd> {
        const BPF_PROG_LOAD: libc::c_int = 5;
        (self.instructions, self.code) = (code.len() as u32, code.as_ptr() as u64);
        self.license = c"GPL".as_ptr() as u64;
        // SAFETY: code and licence are as long as said and live as long as the call; nothing else is pointed to.
        unsafe { open(BPF_PROG_LOAD, &mut self) }
    }
}
