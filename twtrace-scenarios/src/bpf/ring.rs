//! Owns: how much has been put into the ring buffers that a process holds.
//! Must not know: what is in them.

use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::{FromRawFd as _, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// `BPF_MAP_GET_FD_BY_ID` of bpf(2) (include/uapi/linux/bpf.h).
const GET_FD_BY_ID: libc::c_int = 14;
/// `BPF_MAP_TYPE_RINGBUF`
const RINGBUF: &str = "27";

/// The member of `union bpf_attr` that this command uses.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    open_flags: u32,
}

/// Bytes that were ever reserved in the ring buffers of a process, what was discarded again included. Needs CAP_SYS_ADMIN.
pub fn produced(pid: u32) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("map_type:") == Some(RINGBUF) {
            let id = field("map_id:").context("a map without an id")?.parse()?;
            bytes += position(&open(id)?)?;
        }
    }
    Ok(bytes)
}

fn open(id: u32) -> Result<OwnedFd> {
    let attr = ById { id, next: 0, open_flags: 0 };
    // SAFETY: the kernel reads at most the given size of `attr`, which lives through the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, GET_FD_BY_ID, &raw const attr, size_of::<ById>()) };
    let fd = Errno::result(fd).with_context(|| format!("BPF_MAP_GET_FD_BY_ID {id}"))?;
    // SAFETY: a new descriptor, nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.try_into()?) })
}

/// The producer's position stands at the beginning of the second page (`struct bpf_ringbuf`, kernel/bpf/ringbuf.c).
fn position(ring: &OwnedFd) -> Result<u64> {
    let page = sysconf(SysconfVar::PAGE_SIZE)?.context("no page size")?;
    let length = NonZeroUsize::new(page.try_into()?).context("pages of no bytes")?;
    // SAFETY: a mapping of its own, unmapped below; the kernel writes to it, which a volatile read allows for.
    unsafe {
        let at = mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, ring, page)?;
        let position = at.cast::<u64>().as_ptr().read_volatile();
        munmap(at, length.get())?;
        Ok(position)
    }
}
